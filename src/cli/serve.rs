//! `regsweep serve`: the service.

use std::path::Path;
use std::sync::Arc;

use super::Exit;
use super::session::clock;
use crate::config::Env;
use crate::daemon::{self, Error};

pub(super) async fn serve(path: &Path, env: Env<'_>) -> anyhow::Result<Exit> {
    match daemon::serve(path, env, Arc::new(clock)).await {
        Ok(()) => Ok(Exit::Done),
        Err(Error::Config(error)) => {
            eprintln!("{error}");
            Ok(Exit::Config)
        }
        Err(Error::Other(error)) => Err(error),
    }
}
