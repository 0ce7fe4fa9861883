//! Twenty hosts behind a network that a case can cut: a few real agents with an audit log each, the others simulated.
//!
//! What is true of every run whatever happened meanwhile is checked here, against what the coordinator does not know:
//! the journals of simulated hosts and the repositories of real ones.

use std::collections::BTreeMap;

use serde_json::Value;

use super::simulated::SimulatedHost;
use super::{Agent, Fleet, QUICK};
use crate::fixtures::{self, Unpacked};
use crate::host::Host;
use crate::network::Network;

/// A host with a real agent.
#[derive(Debug)]
pub struct RealHost {
    /// The host.
    pub host: Host,
    agent: Option<Agent>,
    _data: Unpacked,
}

impl RealHost {
    /// Starts its agent anew, perhaps to be killed at a failpoint.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    #[track_caller]
    pub fn restart(&mut self, failpoint: Option<&str>) {
        self.kill();
        self.agent = Some(Agent::start_until(&self.host, failpoint));
    }

    /// Kills its agent with SIGKILL, if it runs.
    pub fn kill(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.kill();
        }
    }

    /// Waits until a failpoint has killed its agent.
    ///
    /// # Panics
    ///
    /// If that does not happen.
    #[track_caller]
    pub fn wait_for_death(&mut self) {
        let agent = self.agent.take().expect("the agent was started");
        let _killed = agent.wait_for_end().expect_code(137);
    }

    /// How many snapshots its repository holds, by its own word.
    ///
    /// # Panics
    ///
    /// If they can not be listed.
    #[track_caller]
    pub fn snapshots(&self) -> usize {
        let list = self.host.run(&["snapshots", "list", "--output", "json"]);
        let list = list.expect_code(0).json();
        list.as_array()
            .unwrap_or_else(|| panic!("a list of snapshots is expected: {list:#}"))
            .len()
    }
}

/// The fleet.
#[derive(Debug)]
pub struct Mixed {
    /// The coordinator.
    pub fleet: Fleet,
    /// What lies between it and all agents.
    pub network: Network,
    /// Hosts `real-1`, `real-2`, …
    pub real: Vec<RealHost>,
    /// Hosts `sim-1`, `sim-2`, …
    pub simulated: Vec<SimulatedHost>,
}

impl Mixed {
    /// A fleet whose agents are all connected; `None` where something is not built.
    ///
    /// # Panics
    ///
    /// If one of them refuses.
    pub async fn start(real: usize, simulated: usize) -> Option<Self> {
        Self::start_with(QUICK, real, simulated).await
    }

    /// The same whose coordinator has these lines of configuration.
    ///
    /// # Panics
    ///
    /// If one of them refuses.
    pub async fn start_with(lines: &str, real: usize, simulated: usize) -> Option<Self> {
        let fleet = Fleet::start_with(lines)?;
        let network = Network::before(fleet.address()).await;
        let mut hosts = Vec::new();
        for number in 1..=real {
            let data = fixtures::small().last()?.unpack();
            let host = Host::new()?
                .with_name(&format!("real-{number}"))
                .with_log("audit", &data.log());
            let host = fleet.enrol_over(host, &["kind=real"], network.address());
            let agent = Some(Agent::start(&host));
            hosts.push(RealHost {
                host,
                agent,
                _data: data,
            });
        }
        let simulated = (1..=simulated)
            .map(|number| {
                let name = format!("sim-{number}");
                let mut host = SimulatedHost::new(&fleet.pki(), fleet.path(), &name, network.address());
                host.start();
                host
            })
            .collect();
        let mixed = Self {
            fleet,
            network,
            real: hosts,
            simulated,
        };
        mixed.until_connected(mixed.len()).await;
        Some(mixed)
    }

    /// How many hosts there are.
    pub fn len(&self) -> usize {
        self.real.len() + self.simulated.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until so many agents are connected, by the word of `drctl status`.
    ///
    /// # Panics
    ///
    /// If that does not happen.
    pub async fn until_connected(&self, count: usize) {
        let _status = self
            .fleet
            .until(&["status"], |status| status["agents_connected"] == count)
            .await;
    }

    /// Asks every host for a snapshot and gives the run's id.
    ///
    /// # Panics
    ///
    /// If the coordinator refuses.
    #[track_caller]
    pub fn ask_all(&self, more: &[&str]) -> String {
        let mut arguments = vec!["snapshot", "create", "--select", "*"];
        arguments.extend(more);
        let started = self.fleet.ask(&arguments);
        started["run"]["id"].as_str().expect("a run has an id").to_owned()
    }

    /// Waits until a run has ended and gives all of it.
    ///
    /// # Panics
    ///
    /// If it does not end.
    pub async fn ended(&self, run: &str) -> Value {
        self.fleet
            .until(&["run", "show", run], |run| !run["run"]["finished"].is_null())
            .await
    }

    /// Each simulated host executed so many tasks, and none of them twice.
    ///
    /// # Panics
    ///
    /// If one did not.
    #[track_caller]
    pub fn expect_executions(&self, count: impl Fn(&SimulatedHost) -> usize) {
        for host in &self.simulated {
            let executions = host.executions();
            assert_eq!(
                executions.len(),
                count(host),
                "tasks that {} executed: {executions:?}",
                host.name()
            );
            assert!(
                executions.values().all(|times| *times == 1),
                "{} did one twice: {executions:?}",
                host.name()
            );
        }
    }

    /// Each real host has so many snapshots: by its own word, and by the coordinator's.
    ///
    /// # Panics
    ///
    /// If one has not.
    pub async fn expect_snapshots(&self, count: usize) {
        for real in &self.real {
            let name = real.host.name();
            assert_eq!(real.snapshots(), count, "snapshots in the repository of {name}");
            let _list = self
                .fleet
                .until(&["snapshot", "list", "--host", name], |list| {
                    list["snapshots"].as_array().is_some_and(|all| all.len() == count)
                })
                .await;
        }
    }

    /// The coordinator's own log is whole, whatever killed it.
    ///
    /// # Panics
    ///
    /// If it is not.
    #[track_caller]
    pub fn expect_audit_intact(&self) {
        let check = self.fleet.ask(&["audit", "verify"]);
        assert_eq!(check["intact"], true, "{check:#}");
    }

    /// Every host has one task in the run, and each says why it stands where it stands; gives states by host.
    ///
    /// # Panics
    ///
    /// If a task is missing, is there twice, or is not explained.
    #[track_caller]
    pub fn states(&self, run: &Value) -> BTreeMap<String, String> {
        let text = |task: &Value, key: &str| task[key].as_str().unwrap_or_default().to_owned();
        let tasks = run["tasks"].as_array().expect("a run has tasks");
        let events = run["events"].as_array().expect("a run has events");
        assert_eq!(tasks.len(), self.len(), "one task a host: {run:#}");
        let states: BTreeMap<String, String> = tasks
            .iter()
            .map(|task| (text(task, "host"), text(task, "state")))
            .collect();
        assert_eq!(states.len(), tasks.len(), "no host twice: {run:#}");
        for task in tasks {
            assert!(!text(task, "explanation").is_empty(), "unexplained: {task:#}");
            let last = events.iter().rfind(|event| event["task"] == task["id"]);
            assert_eq!(
                last.map(|event| &event["state"]),
                Some(&task["state"]),
                "the last event tells of the state: {task:#}"
            );
        }
        states
    }

    /// All tasks passed, each at this attempt and once.
    ///
    /// # Panics
    ///
    /// If one did not.
    #[track_caller]
    pub fn expect_all_passed(&self, run: &Value, attempt: u64) {
        let states = self.states(run);
        assert!(
            states.values().all(|state| state == "passed"),
            "all of it passed: {run:#}"
        );
        assert_eq!(run["run"]["state"], "passed", "{run:#}");
        for task in run["tasks"].as_array().expect("a run has tasks") {
            assert_eq!(task["attempt"], attempt, "{task:#}");
            let events = run["events"].as_array().expect("a run has events").iter();
            let passed = events.filter(|event| event["task"] == task["id"] && event["state"] == "passed");
            assert_eq!(passed.count(), 1, "its result counted once: {run:#}");
        }
    }
}
