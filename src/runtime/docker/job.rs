//! Jobs in containers of their own: each is made after the registry's container, run to its end, and removed.
//!
//! It does not know what a job does.

use bollard::models::ContainerCreateBody;
use tokio::sync::oneshot;

use crate::runtime::deadline::Deadline;
use crate::runtime::docker::client::Client;
use crate::runtime::docker::container::{Container, labels};
use crate::runtime::error::Error;
use crate::runtime::job::{Job, OutputSink};

/// Runs a job in a second container: its exit code. The container is removed whatever happens.
pub(crate) async fn run(
    client: &Client,
    registry: &Container,
    job: &Job,
    output: &mut dyn OutputSink,
    deadline: Deadline,
) -> Result<i64, Error> {
    let second = create(client, registry.second(&job.command_line, job.network)).await?;
    let run = async {
        if let Some(file) = &job.same_file
            && client.read(&second, &file.path).await?.as_deref() != Some(&file.text)
        {
            let (container, path) = (registry.name.clone(), file.path.clone());
            return Err(Error::OtherConfig { container, path });
        }
        client.run(&second, output, deadline).await
    };
    let ended = run.await;
    let removed = client.remove(&second).await;
    let exit = ended?;
    removed.map(|()| exit)
}

/// Creates a container. If the caller is dropped before the Engine answers, the container is removed as soon as it
/// exists: the Engine creates it all the same, perhaps long after everything else was removed.
async fn create(client: &Client, body: ContainerCreateBody) -> Result<String, Error> {
    let (created, answer) = oneshot::channel();
    let client = client.clone();
    tokio::spawn(async move {
        if let Err(Ok(id)) = created.send(client.create(body).await)
            && let Err(error) = client.remove(&id).await
        {
            tracing::warn!(%error, "a collector's container could not be removed");
        }
    });
    // The task ends without an answer only if the whole process ends.
    let no_answer =
        || Error::Engine { action: "create a container", message: "regsweep is being stopped".to_owned() };
    answer.await.unwrap_or_else(|_| Err(no_answer()))
}

/// Removes all job containers of a registry, which also ends what runs in them. A container that cannot be removed is an
/// error only if it may still run. Otherwise it is left, which is better than a registry that stays down.
pub(crate) async fn end_all(client: &Client, registry: &str) -> Result<(), Error> {
    for id in client.labelled(&labels(registry)).await? {
        let Err(error) = client.remove(&id).await else { continue };
        let runs = match client.inspect(&id).await {
            Ok(found) => found.state.and_then(|state| state.running).unwrap_or(true),
            Err(Error::NoContainer { .. }) => continue,
            Err(_) => true,
        };
        if runs {
            return Err(error);
        }
        tracing::warn!(%error, "a collector's container could not be removed; it does not run");
    }
    Ok(())
}
