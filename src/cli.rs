//! The command line: arguments in, tables or JSON and an exit code out.
//!
//! This is a face: it reads the clock and the environment, prints, and decides nothing about images.

#[macro_use]
mod output;

mod args;
mod bars;
mod check;
mod explain;
mod gc;
mod health;
mod history;
mod ls;
mod narrowed;
mod plan;
mod run;
mod session;
mod signals;
mod table;
mod undo;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser as _;

use crate::model::sanitize;
use crate::telemetry::{self, Audience, LogFormat};
use args::{Arguments, CheckArguments, Command};
use output::Saying;

/// How the program ends, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    /// Everything that was asked for is done.
    Done = 0,
    /// A limit forbade part of it.
    Refused = 3,
    /// Something failed.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The configuration makes no sense (`EX_CONFIG` of sysexits).
    Config = 78,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && args::asks_for_json(std::env::args_os()) => {
            output::tell_json();
            output::tell(Saying::Problem, format_args!("{}", error.render().to_string().trim_end()));
            return ExitCode::from(Exit::Usage as u8);
        }
        Err(error) => error.exit(),
    };
    if arguments.log_format == LogFormat::Json {
        output::tell_json();
    }
    #[expect(clippy::disallowed_methods, reason = "this is the face that reads the environment")]
    let env = |name: &str| std::env::var(name).ok();
    let audience = match arguments.command {
        Command::Serve => Audience::Operator,
        _ => Audience::Caller,
    };
    if arguments.command.only_looks() {
        output::end_at_a_closed_pipe();
    }
    telemetry::start(arguments.log_format, env("RUST_LOG").as_deref(), audience);
    // One thread is quickest for a client, which mostly waits. The service has more, so that it answers
    // whatever a run computes.
    let mut runtime = match arguments.command {
        Command::Serve => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let exit = runtime
        .enable_all()
        .build()
        .context("the runtime could not be started")
        .and_then(|runtime| runtime.block_on(dispatch(&arguments, &env)));
    let exit = exit.unwrap_or_else(|error| {
        // The causes at the end of the chain can be a server's own words.
        print_error!("{}", sanitize(&format!("{error:#}"), 4000));
        if error.is::<session::Usage>() { Exit::Usage } else { Exit::Failed }
    });
    let exit = if output::is_lost() { exit.and(Exit::Failed) } else { exit };
    ExitCode::from(exit as u8)
}

async fn dispatch(arguments: &Arguments, env: crate::config::Env<'_>) -> anyhow::Result<Exit> {
    // First, so that a change that comes after is one that the service finds.
    let seen = crate::config::read_bytes(&arguments.config).ok();
    let loaded = match arguments.command {
        // These need no secret, and whoever asks may have none.
        Command::Check(CheckArguments { connect: false, .. }) | Command::History(_) | Command::Health(_) => {
            crate::config::load_without_secrets(&arguments.config, env)
        }
        _ => crate::config::load(&arguments.config, env),
    };
    let config = match loaded {
        Ok(config) => config,
        Err(error) => {
            for problem in error.to_string().lines() {
                output::tell(Saying::Problem, format_args!("{problem}"));
            }
            return Ok(Exit::Config);
        }
    };
    match &arguments.command {
        Command::Check(asked) => check::check(&config, &arguments.config, asked, env).await,
        Command::Plan(arguments) => plan::plan(&config, arguments).await,
        Command::Run(run) => run::run(&config, &arguments.config, run, env).await,
        Command::Gc(arguments) => gc::gc(&config, arguments, env).await,
        Command::Health(arguments) => health::health(&config, arguments).await,
        Command::Serve => {
            let clock = Arc::new(session::clock);
            crate::daemon::serve(config, &arguments.config, seen, env, clock).await?;
            Ok(Exit::Done)
        }
        Command::Ls(arguments) => ls::ls(&config, arguments).await,
        Command::Explain(arguments) => explain::explain(&config, arguments).await,
        Command::History(arguments) => history::show(&config, arguments),
        Command::Undo(arguments) => undo::put_back(&config, arguments).await,
    }
}

impl Exit {
    /// The graver of two ends: a failure is worse than a refusal, a refusal worse than neither.
    fn and(self, other: Self) -> Self {
        let gravity = |exit: Self| match exit {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Failed => 2,
            Self::Usage => 3,
            Self::Config => 4,
        };
        if gravity(other) > gravity(self) { other } else { self }
    }
}
