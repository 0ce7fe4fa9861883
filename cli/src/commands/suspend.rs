//! `drctl suspend` and `drctl resume`.

use clap::Args;
use dr_proto::model::exit::Code;
use dr_proto::model::units::Period;
use dr_terminal::arguments::{period, said};
use serde::Serialize;

use crate::error::{Class, Failure, Outcome};
use crate::session::Session;
use crate::show::short_time;

/// Arguments of `suspend`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  drctl suspend --for 2h --reason 'storage maintenance'\n  \
                             drctl suspend --scope host=db-1 --for 1d --reason OPS-4411"
)]
pub(crate) struct Suspend {
    /// For how long, 30 days at most; it ends by itself
    #[arg(long = "for", value_name = "TIME", default_value = "4h", value_parser = period)]
    length: Period,
    /// Why, for everybody who wonders
    #[arg(long, value_name = "TEXT", value_parser = said)]
    reason: String,
    /// `fleet`, `host=NAME`, or labels such as env=prod
    #[arg(long, value_name = "SCOPE", default_value = "fleet")]
    scope: String,
}

/// Arguments of `resume`.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// The scope that was suspended, or the suspension's id
    #[arg(long, value_name = "SCOPE", default_value = "fleet")]
    scope: String,
}

#[derive(Serialize)]
struct Resumed {
    ended: u32,
}

pub(super) async fn suspend(session: &Session, arguments: Suspend) -> Outcome {
    let coordinator = session.coordinator().await?;
    let entry = session
        .until_interrupted(async {
            let Suspend {
                length,
                reason,
                scope,
            } = arguments;
            Ok(coordinator.suspend(scope, reason, Some(length.0)).await?)
        })
        .await?;
    if session.ui.is_json() {
        session.answer(&entry)?;
    } else {
        session.ui.data(&format!(
            "{} is suspended until {} ({}); what runs goes on",
            entry.scope,
            short_time(entry.until),
            entry.id
        ))?;
        session.ui.say(&format!(
            "Hint: `drctl resume --scope {}` ends it earlier",
            entry.id
        ));
    }
    Ok(Code::Done)
}

pub(super) async fn resume(session: &Session, arguments: Resume) -> Outcome {
    let coordinator = session.coordinator().await?;
    let scope = arguments.scope;
    let ended = session
        .until_interrupted(async { Ok(coordinator.resume(scope.clone()).await?) })
        .await?;
    if ended == 0 {
        return Err(
            Failure::new(Class::NotFound, format!("nothing is suspended under `{scope}`"))
                .hint("`drctl status` shows suspensions"),
        );
    }
    if session.ui.is_json() {
        session.answer(&Resumed { ended })?;
    } else {
        session
            .ui
            .data(&format!("{ended} suspensions of `{scope}` ended"))?;
    }
    Ok(Code::Done)
}
