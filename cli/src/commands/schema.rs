//! `jobqueue schema`: the ledger's DDL, for a database where the workers' account may not create tables.

use clap::{Args, ValueEnum};
use jobqueue_ingest::{DatabaseKind, ledger_ddl};

use crate::common::exit::{Exit, Failure};
use crate::common::global_args::GlobalArgs;
use crate::common::output::Output;
use crate::common::target::Target;

/// Flags of `schema`.
#[derive(Debug, Args)]
#[command(after_help = "Example: jobqueue schema --dialect postgres | psql \"$DATABASE\"")]
pub(crate) struct SchemaArgs {
    /// The database's SQL [default: that of --database or of the manifest's URL]
    #[arg(long, value_enum)]
    dialect: Option<Dialect>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Dialect {
    Postgres,
    #[value(alias = "mariadb")]
    Mysql,
    Sqlite,
}

impl From<Dialect> for DatabaseKind {
    fn from(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Postgres => Self::Postgres,
            Dialect::Mysql => Self::Mysql,
            Dialect::Sqlite => Self::Sqlite,
        }
    }
}

/// Prints the DDL.
pub(crate) fn run(global: &GlobalArgs, args: &SchemaArgs, output: Output) -> anyhow::Result<Exit> {
    let kind = match args.dialect {
        Some(dialect) => dialect.into(),
        None => match Target::from_args(global)?.database_as_written()? {
            Some(url) => url.kind(),
            None => {
                return Err(Failure::new(Exit::Usage, "which database is it?")
                    .hint("say --dialect postgres, mysql or sqlite, or give --database URL")
                    .into());
            }
        },
    };
    let ddl = ledger_ddl(kind);
    if output.is_machine() {
        output.document(&serde_json::json!({"dialect": kind.to_string(), "ddl": ddl}))?;
    } else {
        output.data(&format!("{}\n", ddl.trim_end()))?;
    }
    Ok(Exit::Ok)
}
