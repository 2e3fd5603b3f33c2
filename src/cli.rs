//! The command line: arguments in, tables or JSON and an exit code out.
//!
//! It reads the clock and the environment and prints. It decides nothing about images.

#[macro_use]
mod output;

mod args;
mod check;
mod exit;
mod explain;
mod filter;
mod gc;
mod health;
mod history;
mod ls;
mod plan;
mod progress;
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
use exit::Exit;
use output::MessageKind;

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && args::asks_for_json(std::env::args_os()) => {
            output::use_json();
            output::message(
                MessageKind::BareError,
                format_args!("{}", error.render().to_string().trim_end()),
            );
            return ExitCode::from(Exit::Usage as u8);
        }
        Err(error) => error.exit(),
    };
    if arguments.log_format == LogFormat::Json {
        output::use_json();
    }
    #[expect(clippy::disallowed_methods, reason = "the environment is read here and nowhere else")]
    let env = |name: &str| std::env::var(name).ok();
    let audience = match arguments.command {
        Command::Serve => Audience::Operator,
        _ => Audience::Caller,
    };
    if arguments.command.is_read_only() {
        output::exit_at_closed_pipe();
    }
    telemetry::start(arguments.log_format, env("RUST_LOG").as_deref(), audience);
    // A client mostly waits, so one thread is fastest. The service has several, so that it answers requests while a
    // run computes.
    let mut runtime = match arguments.command {
        Command::Serve => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let exit = runtime
        .enable_all()
        .build()
        .context("could not start the async runtime")
        .and_then(|runtime| runtime.block_on(dispatch(&arguments, &env)));
    let exit = exit.unwrap_or_else(|error| {
        // The innermost cause can be text from a server.
        print_error!("{}", sanitize(&format!("{error:#}"), 4000));
        if error.is::<session::UsageError>() { Exit::Usage } else { Exit::Failed }
    });
    let exit = if output::has_write_failed() { exit.worse(Exit::Failed) } else { exit };
    ExitCode::from(exit as u8)
}

async fn dispatch(arguments: &Arguments, env: crate::config::Env<'_>) -> anyhow::Result<Exit> {
    // Read before the configuration is loaded, so that the service notices a change made in between.
    let seen = crate::config::read_bytes(&arguments.config).ok();
    let loaded = match arguments.command {
        // These commands need no secrets, which the caller may not be able to read.
        Command::Check(CheckArguments { connect: false, .. }) | Command::History(_) | Command::Health(_) => {
            crate::config::load_without_secrets(&arguments.config, env)
        }
        _ => crate::config::load(&arguments.config, env),
    };
    let config = match loaded {
        Ok(config) => config,
        Err(error) => {
            for problem in error.to_string().lines() {
                output::message(MessageKind::BareError, format_args!("{problem}"));
            }
            return Ok(Exit::Config);
        }
    };
    match &arguments.command {
        Command::Check(check) => check::check(&config, &arguments.config, check, env).await,
        Command::Plan(arguments) => plan::plan(&config, arguments).await,
        Command::Run(run) => run::run(&config, &arguments.config, run, env).await,
        Command::Gc(arguments) => gc::gc(&config, arguments, env).await,
        Command::Health(arguments) => health::health(&config, arguments).await,
        Command::Serve => {
            let clock = Arc::new(session::clock);
            crate::daemon::serve(config, &arguments.config, seen, env, clock).await?;
            Ok(Exit::Success)
        }
        Command::Ls(arguments) => ls::ls(&config, arguments).await,
        Command::Explain(arguments) => explain::explain(&config, arguments).await,
        Command::History(arguments) => history::history(&config, arguments),
        Command::Undo(arguments) => undo::undo(&config, arguments).await,
    }
}
