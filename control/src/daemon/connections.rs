//! What is cached: asked of the workers, answered when each has looked.

use super::Daemon;
use super::read::told;
use crate::api::section::{self, Connection};
use crate::api::unixctl::Answer;
use ovn_xdp_datapath::field::{self, Context};
use ovn_xdp_datapath::listing::{self, Origin};
use serde_json::Value;
use std::net::{Ipv4Addr, Ipv6Addr};
use tokio::sync::oneshot;
use uuid::Uuid;

/// Answers that wait for the workers to look.
#[derive(Debug, Default)]
pub struct Listings(Vec<Listing>);

#[derive(Debug)]
struct Listing {
    /// The question to each worker.
    questions: Vec<u64>,
    json: bool,
    answer: oneshot::Sender<Result<Answer, Value>>,
}

impl Daemon {
    /// Asks the workers.
    pub(super) fn list_connections(
        &mut self,
        json: bool,
        answer: oneshot::Sender<Result<Answer, Value>>,
    ) {
        let workers = &self.engine.ports.counters;
        let questions = workers.iter().map(|worker| worker.listing.ask()).collect();
        self.publisher.wake();
        self.listings.0.push(Listing { questions, json, answer });
    }

    /// Answers who asked, as far as the workers have.
    pub(super) fn settle_listings(&mut self) {
        for listing in std::mem::take(&mut self.listings.0) {
            let workers = self.engine.ports.counters.iter().zip(&listing.questions);
            let answers = workers.map(|(worker, question)| worker.listing.answer(*question));
            let Some(answers) = answers.collect::<Option<Vec<_>>>() else {
                self.listings.0.push(listing);
                continue;
            };
            let mut connections = Vec::new();
            for (worker, listed) in answers.into_iter().enumerate() {
                connections.extend(listed.iter().map(|one| self.connection(worker, one)));
            }
            let text = told(listing.json, &connections, |all| section::connections(all));
            let _ = listing.answer.send(Ok(text.into()));
        }
    }

    fn connection(&self, worker: usize, listed: &listing::Connection) -> Connection {
        let generation = self.publisher.current();
        let interfaces = listed.interfaces.iter();
        let interfaces = interfaces.map(|id| self.engine.interface_name(*id).to_owned());
        let chassis = |id| generation.tunnels.get(id).map(|tunnel| tunnel.chassis.clone());
        let ports = matches!(protocol(&listed.fields), 6 | 17 | 132);
        let port = |slice| ports.then(|| listed.fields.get(slice) as u16);
        let (source, destination) = addresses(&listed.fields);
        Connection {
            worker,
            from: match listed.from {
                Origin::Interface(id) => self.engine.interface_name(id).to_owned(),
                Origin::Tunnel(key) => format!("tunnel, datapath {key}"),
            },
            protocol: protocol(&listed.fields),
            source,
            source_port: port(field::TP_SRC),
            destination,
            destination_port: port(field::TP_DST),
            to: interfaces.chain(listed.tunnels.iter().filter_map(chassis)).collect(),
            drop: listed.drop.map(|(reason, _)| reason.label()),
            flow: listed.drop.map(|(_, flow)| Uuid::from_u128(flow.0)),
            holds: listed.holds,
        }
    }
}

fn protocol(fields: &Context) -> u8 {
    fields.get(field::IP_PROTO) as u8
}

/// IP addresses, or MAC addresses of what is no IP.
fn addresses(fields: &Context) -> (String, String) {
    let mac = |slice| {
        let octets = (fields.get(slice) as u64).to_be_bytes();
        octets[2..].iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":")
    };
    match fields.get(field::ETH_TYPE) {
        0x0800 => {
            let address = |slice| Ipv4Addr::from(fields.get(slice) as u32).to_string();
            (address(field::IP4_SRC), address(field::IP4_DST))
        }
        0x86dd => {
            let address = |slice| Ipv6Addr::from(fields.get(slice)).to_string();
            (address(field::IP6_SRC), address(field::IP6_DST))
        }
        _ => (mac(field::ETH_SRC), mac(field::ETH_DST)),
    }
}
