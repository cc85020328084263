//! The walk through the whole logical network, with no chassis in it, as `ovn-trace` defines it:
//! every port is within reach, a multicast group is the list of its members, and an operation shares
//! the packet with what stands behind it where `ovn-trace` does. Workers have none of this.

use super::*;

/// Tables that one copy of a packet may pass: what goes round until its TTL is at its end is told to
/// its end.
pub(super) const MAX_PATH: u32 = 1 << 15;

/// Walks a packet that is nothing but its fields, from the start of a datapath's ingress pipeline.
/// What comes of it is what the observer sees.
pub fn follow<O: Observer, S: Surroundings>(
    generation: &Generation,
    datapath: DatapathKey,
    context: Context,
    surroundings: S,
    observer: &mut O,
) {
    let Some(datapath) = generation.datapaths.get(&datapath) else { return };
    let parsed = Parsed::default();
    let packet = Packet { head: &[], parsed: &parsed, wire_len: 0, hash: 0 };
    let base = Base { context: context.clone(), layers: parsed.layers, popped: 0, len: 0 };
    let mut walk = Walk::new(generation, packet, base, surroundings, observer);
    let place = walk.observer.enter(datapath, &context);
    walk.work.push(Branch::new(context, place, datapath));
    while let Some(branch) = walk.work.pop() {
        walk.run(branch);
    }
}

/// `nd_na`: the fields of the answer to a solicitation.
pub(super) fn advertise(packet: &mut Context) {
    let asker = packet.get(field::ETH_SRC);
    let own = packet.get(field::ETH_DST);
    packet.set(field::ETH_SRC, own);
    packet.set(field::ETH_DST, asker);
    packet.set(field::IP6_DST, packet.get(field::IP6_SRC));
    packet.set(field::IP6_SRC, packet.get(field::ND_TARGET));
    packet.set(field::TP_SRC, 136);
    packet.set(field::ND_SLL, 0);
    packet.set(field::ND_TLL, own);
}

/// `ip.ttl--`, which stops at zero and drops nothing: it is the flows before it that look at it.
pub(super) fn decrement_ttl(packet: &mut Context) {
    let ttl = packet.get(field::IP_TTL);
    packet.set(field::IP_TTL, ttl.saturating_sub(1));
}

impl<'g, O: Observer, S: Surroundings> Walk<'g, '_, '_, O, S> {
    /// Goes on with the packet as the branch before left it, if this one shares it.
    pub(super) fn take_up(&mut self, branch: &mut Branch<'g, O::Place>) {
        let ended = self.ended.take();
        if let (true, Some(context)) = (branch.continues, ended) {
            let outport = branch.context.get(field::OUTPORT);
            branch.context = context;
            if matches!(branch.at, At::Table(..)) {
                branch.context.set(field::OUTPORT, outport);
            }
        }
        branch.continues = false;
    }

    /// `output` in an ingress pipeline.
    pub(super) fn decide_whole(&mut self, branch: &mut Branch<'g, O::Place>) -> Step {
        let outport = branch.context.get(field::OUTPORT) as u16;
        let datapath = branch.datapath;
        let Some(key) = PortKey::new(outport) else {
            self.see(branch, outport, Decision::Unknown);
            return Ok(false);
        };
        let inport = branch.context.get(field::INPORT);
        let loopback = branch.context.get(field::FLAGS) & u128::from(flag::LOOPBACK) != 0;
        let egress = egress(&branch.context);
        if let Some(group) = datapath.groups.get(&key) {
            let place = self.see(branch, outport, Decision::Group);
            let mut copies: SmallVec<[Branch<'g, O::Place>; 8]> = SmallVec::new();
            for member in &group.local {
                let mut copy = branch.clone();
                copy.context = egress.clone();
                copy.context.set(field::OUTPORT, u128::from(member.get()));
                copy.place = place;
                copy.at = At::Table(Pipeline::Egress, 0);
                copy.continues = !copies.is_empty();
                copy.place = self.see(&copy, member.get(), Decision::Local);
                if loopback || u128::from(member.get()) != inport {
                    copies.push(copy);
                } else {
                    self.see(&copy, member.get(), Decision::Omitted);
                }
            }
            while let Some(copy) = copies.pop() {
                self.work.push(copy);
            }
            return Ok(false);
        }
        let port = datapath.ports.get(key);
        let mut key = key;
        match port.map(|port| &port.place) {
            Some(Place::Distributed(port)) => {
                self.see(branch, outport, Decision::Distributed(*port));
                key = *port;
            }
            Some(Place::NotExecuted(_)) => {
                self.see(branch, outport, Decision::Unknown);
                return Ok(false);
            }
            Some(_) => {}
            None => {
                self.see(branch, outport, Decision::Unknown);
            }
        }
        if loopback || port.is_some() && inport != u128::from(key.get()) {
            branch.context = egress;
            branch.context.set(field::OUTPORT, u128::from(key.get()));
            branch.place = self.see(branch, key.get(), Decision::Local);
            branch.at = At::Table(Pipeline::Egress, 0);
            return Ok(true);
        }
        self.see(branch, key.get(), Decision::Omitted);
        Ok(false)
    }

    /// `output` in an egress pipeline.
    pub(super) fn deliver_whole(&mut self, branch: &mut Branch<'g, O::Place>) -> Step {
        let outport = branch.context.get(field::OUTPORT) as u16;
        let port = PortKey::new(outport).and_then(|key| branch.datapath.ports.get(key));
        let peer = match port.map(|port| &port.place) {
            Some(Place::Patch(peer)) => *peer,
            Some(_) => {
                self.see(branch, outport, Decision::Deliver);
                return Ok(false);
            }
            None => {
                self.see(branch, outport, Decision::Unknown);
                return Ok(false);
            }
        };
        branch.place = self.see(branch, outport, Decision::Patch);
        let Some(datapath) = self.datapath(peer.datapath) else { return Ok(false) };
        branch.path += 1;
        branch.datapath = datapath;
        branch.context.set(field::INPORT, u128::from(peer.port.get()));
        branch.context.set(field::OUTPORT, 0);
        branch.at = At::Table(Pipeline::Ingress, 0);
        Ok(true)
    }

    fn see(&mut self, branch: &Branch<'g, O::Place>, port: u16, decision: Decision) -> O::Place {
        self.observer.output(branch.place, branch.datapath, port, decision, &branch.context)
    }
}

/// The packet at the start of an egress pipeline: of the registers, only the ports are left.
fn egress(context: &Context) -> Context {
    let mut egress = context.clone();
    for register in [field::XXREG0, field::XXREG1, field::XREG4, field::FLAGS] {
        egress.set(register, 0);
    }
    for zone in [field::DNAT_ZONE, field::SNAT_ZONE, field::PORT_ZONE] {
        egress.set(zone, 0);
    }
    egress
}
