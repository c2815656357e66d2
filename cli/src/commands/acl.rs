//! `jobqueue acl`: what a Redis account needs, from the scripts and commands that are sent.

use clap::{Args, ValueEnum};
use jobqueue_queue::acl::{Role, commands, rules};

use crate::common::exit::Exit;
use crate::common::global_args::GlobalArgs;
use crate::common::output::Output;
use crate::common::target::Target;

/// Flags of `acl`.
#[derive(Debug, Args)]
#[command(after_help = "Put a name and a password for NAME and PASSWORD. \
                        Example: jobqueue acl --queue companies | redis-cli")]
pub(crate) struct AclArgs {
    /// Who uses the account: workers and every command of a person, or the operator and `status`, which only look
    #[arg(long = "for", value_enum, default_value = "worker")]
    role: RoleArg,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArg {
    Worker,
    Operator,
}

/// Prints the command that makes the account.
pub(crate) fn run(global: &GlobalArgs, args: &AclArgs, output: Output) -> anyhow::Result<Exit> {
    let target = Target::from_args(global)?;
    let role = match args.role {
        RoleArg::Worker => Role::Worker,
        RoleArg::Operator => Role::Watcher,
    };
    let rules = rules(target.protocol, target.some_queues()?, &target.key_prefix, &target.consumer_group, role)?;
    if output.is_machine() {
        let commands = commands(target.protocol, role);
        output.document(&serde_json::json!({"rules": rules, "commands": commands}))?;
    } else {
        output.data(&format!("ACL SETUSER NAME on >PASSWORD {rules}\n"))?;
    }
    Ok(Exit::Ok)
}
