//! What each operation of a program does to a packet's fields.

use super::*;

impl<'g, O: Observer, S: Surroundings> Walk<'g, '_, '_, O, S> {
    /// Runs operations until one leads elsewhere.
    ///
    /// What comes after `next` or `output` goes on with the packet as it was there. Upstream it goes
    /// on with what the pipelines behind made of it, as a resubmit shares the packet; no northd
    /// writes flows that could tell.
    pub(super) fn program(
        &mut self,
        branch: &mut Branch<'g, O::Place>,
        (pipeline, table): (Pipeline, u8),
        mut ops: &'g [Op],
        mut index: usize,
    ) -> Step {
        while let Some((op, rest)) = ops.split_first() {
            ops = rest;
            let at = crate::observe::Step { datapath: branch.datapath, pipeline, index };
            let place = self.observer.op(branch.place, at, op, &branch.context);
            index += 1;
            let later = At::Program(pipeline, table, rest, index);
            match op {
                Op::Next(to, table) => {
                    self.fork(branch, later, place, true);
                    branch.at = At::Table(*to, *table);
                    return Ok(true);
                }
                Op::Output => {
                    self.fork(branch, later, place, false);
                    if pipeline == Pipeline::Ingress {
                        branch.at = At::Output;
                        return Ok(true);
                    }
                    return if S::WHOLE {
                        self.deliver_whole(branch)
                    } else {
                        self.deliver(branch)
                    };
                }
                Op::Clone(program) => {
                    self.fork(branch, later, place, false);
                    branch.at = At::Program(pipeline, table, program, 0);
                    return Ok(true);
                }
                Op::NeighbourAdvertisement { router, then } => {
                    self.fork(branch, later, place, false);
                    if S::WHOLE {
                        whole::advertise(&mut branch.context);
                    } else {
                        self.answer_solicitation(branch, *router)?;
                    }
                    branch.at = At::Program(pipeline, table, then, 0);
                    return Ok(true);
                }
                Op::Select(select) => {
                    let Select { result, members, hash_fields } = &**select;
                    let chosen = match self.surroundings.select(members) {
                        Some(chosen) => chosen,
                        None => self.select(branch, members, hash_fields),
                    };
                    let place = self.observer.place(place);
                    self.fork(branch, later, place, false);
                    self.write(branch, *result, u128::from(chosen));
                    branch.at = At::Table(pipeline, table.saturating_add(1));
                    return Ok(true);
                }
                Op::Connection(operation) => {
                    let mut packet = branch.context.clone();
                    let datapath = branch.datapath;
                    match self.surroundings.connection(operation, datapath, &mut packet) {
                        // There is no connection, load balancer or symmetric route to find.
                        Outcome::NotExecuted => match operation.test() {
                            Some(result) => self.write(branch, result, 0),
                            None => return Err(DropReason::NotExecuted),
                        },
                        Outcome::Done => branch.context = packet,
                        Outcome::Forks => {
                            let place = self.observer.place(place);
                            self.fork(branch, later, place, false);
                            branch.context = packet;
                            branch.at = At::Table(pipeline, table.saturating_add(1));
                            return Ok(true);
                        }
                    }
                }
                Op::Message { kind, then } => {
                    let mut packet = branch.context.clone();
                    match self.surroundings.message(*kind, &mut packet) {
                        Outcome::NotExecuted => return Err(DropReason::NotExecuted),
                        Outcome::Done => {}
                        Outcome::Forks => {
                            let place = self.observer.place(place);
                            self.fork(branch, later, place, false);
                            branch.context = packet;
                            branch.at = At::Program(pipeline, table, then, 0);
                            return Ok(true);
                        }
                    }
                }
                Op::Agent(operation) => {
                    let mut packet = branch.context.clone();
                    let datapath = branch.datapath;
                    match self.surroundings.agent(operation, datapath, &mut packet) {
                        Outcome::NotExecuted => return Err(DropReason::NotExecuted),
                        Outcome::Done => branch.context = packet,
                        // A copy goes out by another port.
                        Outcome::Forks => {
                            let place = self.observer.place(place);
                            self.fork(branch, later, place, false);
                            branch.context = packet;
                            branch.at = At::Table(Pipeline::Egress, 0);
                            return Ok(true);
                        }
                    }
                }
                _ => {
                    self.operation(branch, op)?;
                    self.observer.ran(branch.place, op, &branch.context);
                }
            }
        }
        if S::WHOLE {
            return Ok(false);
        }
        // A program that said `next` or `output` before has done its work.
        Err(DropReason::LogicalFlow)
    }

    /// Leaves what stands behind an operation for later, and puts the branch in the place of what
    /// the operation leads to. `shares` says that the rest sees what becomes of the packet there.
    fn fork(
        &mut self,
        branch: &mut Branch<'g, O::Place>,
        later: At<'g>,
        place: O::Place,
        shares: bool,
    ) {
        let empty = matches!(later, At::Program(_, _, [], _));
        if !empty || S::WHOLE {
            let mut rest = branch.clone();
            rest.at = later;
            rest.continues = S::WHOLE && shares;
            self.work.push(rest);
        }
        branch.place = place;
    }

    fn operation(
        &mut self,
        branch: &mut Branch<'g, O::Place>,
        op: &'g Op,
    ) -> Result<(), DropReason> {
        match op {
            Op::Load(to, value) => self.write(branch, *to, u128::from(*value)),
            Op::Move { to, from } => {
                let value = self.read(branch, *from);
                self.write(branch, *to, value);
            }
            Op::Exchange(one, other) => {
                let values = (self.read(branch, *one), self.read(branch, *other));
                self.write(branch, *one, values.1);
                self.write(branch, *other, values.0);
            }
            Op::Push(from) => {
                let value = self.read(branch, *from);
                branch.stack.push(value);
            }
            Op::Pop(to) => {
                let value = branch.stack.pop().unwrap_or(0);
                self.write(branch, *to, value);
            }
            Op::LoadWide(to, value) => self.write(branch, *to, **value),
            Op::LoadMasked(to, masked) => {
                let kept = self.read(branch, *to) & !masked.mask;
                self.write(branch, *to, kept | masked.value & masked.mask);
            }
            Op::DecrementTtl if S::WHOLE => whole::decrement_ttl(&mut branch.context),
            Op::DecrementTtl => self.decrement_ttl(branch)?,
            Op::CtClear => {
                for slot in [4, 5, 15, 16] {
                    branch.context.slots[slot] = 0;
                }
            }
            Op::CheckInPortSecurity(result) => {
                let fails = !self.own_port(branch, field::INPORT, S::may_send);
                self.write(branch, *result, u128::from(fails));
            }
            Op::CheckOutPortSecurity(result) => {
                let fails = !self.own_port(branch, field::OUTPORT, S::may_receive);
                self.write(branch, *result, u128::from(fails));
            }
            Op::GetNeighbour { family, port, address } => {
                let mac = self.neighbour(branch, *family, *port, *address);
                self.write(branch, field::ETH_DST, mac.map_or(0, mac_value));
            }
            Op::LookupNeighbour { family, result, port, address, mac } => {
                let known = self.neighbour(branch, *family, *port, *address);
                let found = match mac {
                    None => known.is_some(),
                    Some(mac) => {
                        let mac = self.read(branch, *mac);
                        known.is_some_and(|known| mac_value(known) == mac)
                    }
                };
                self.write(branch, *result, u128::from(found));
            }
            Op::PutNeighbour { family, port, address, mac } => {
                let port = self.port_key(branch, *port);
                let address = self.read(branch, *address);
                let mac = mac_bytes(self.read(branch, *mac));
                if let Some(port) = port {
                    let datapath = branch.datapath.key;
                    self.learned.push(Learned::Neighbour {
                        datapath,
                        port,
                        family: *family,
                        address,
                        mac,
                    });
                }
            }
            Op::MacCacheUse => self.neighbour_used(branch),
            Op::PutFdb { port, mac } => {
                let port = self.port_key(branch, *port);
                let mac = mac_bytes(self.read(branch, *mac));
                if let Some(port) = port {
                    self.learned.push(Learned::Fdb { datapath: branch.datapath.key, port, mac });
                }
            }
            Op::GetFdb { result, mac } => {
                let mac = mac_bytes(self.read(branch, *mac));
                let port = branch.datapath.fdb.get(&mac).map_or(0, |port| u128::from(port.get()));
                self.write(branch, *result, port);
            }
            Op::LookupFdb { result, port, mac } => {
                let port = self.read(branch, *port);
                let mac = mac_bytes(self.read(branch, *mac));
                let known = branch.datapath.fdb.get(&mac);
                let found = known.is_some_and(|known| u128::from(known.get()) == port);
                self.write(branch, *result, u128::from(found));
            }
            // There is no packet whose length could be looked at.
            Op::CheckPacketLarger { .. } if S::WHOLE => {}
            Op::CheckPacketLarger { result, limit } => {
                let larger = self.larger(branch, u32::from(*limit));
                self.write(branch, *result, u128::from(larger));
            }
            Op::SetQueue(queue) => self.write(branch, field::QUEUE, u128::from(*queue)),
            Op::Zero(result) => self.write(branch, *result, 0),
            Op::Output
            | Op::Next(..)
            | Op::Clone(_)
            | Op::NeighbourAdvertisement { .. }
            | Op::Select(_)
            | Op::Connection(_)
            | Op::Message { .. }
            | Op::Agent(_) => return Err(DropReason::Internal),
        }
        Ok(())
    }

    fn decrement_ttl(&mut self, branch: &mut Branch<'g, O::Place>) -> Result<(), DropReason> {
        let ttl = branch.context.get(field::IP_TTL) as u8;
        if ttl <= 1 {
            self.consult(branch, field::IP_TTL.mask());
            return Err(DropReason::TtlExpired);
        }
        branch.context.set(field::IP_TTL, u128::from(ttl - 1));
        branch.ttl = match branch.ttl {
            TtlChange::Keep => TtlChange::Decrement(1),
            TtlChange::Decrement(by) => TtlChange::Decrement(by + 1),
            TtlChange::Set(_) => TtlChange::Set(ttl - 1),
        };
        branch.written |= field::IP_TTL.mask();
        if let (0, TtlChange::Decrement(by)) = (branch.base, branch.ttl) {
            self.ttl_above = self.ttl_above.max(by);
        }
        Ok(())
    }

    fn own_port(
        &mut self,
        branch: &Branch<'g, O::Place>,
        slice: Slice,
        check: fn(&mut S, &Port, &Context) -> bool,
    ) -> bool {
        let port = PortKey::new(branch.context.get(slice) as u16);
        let port = port.and_then(|key| branch.datapath.ports.get(key));
        port.is_none_or(|port| check(&mut self.surroundings, port, &branch.context))
    }

    fn port_key(&mut self, branch: &Branch<'g, O::Place>, slice: Slice) -> Option<PortKey> {
        u16::try_from(self.read(branch, slice)).ok().and_then(PortKey::new)
    }

    fn neighbour(
        &mut self,
        branch: &Branch<'g, O::Place>,
        family: crate::program::Family,
        port: Slice,
        address: Slice,
    ) -> Option<crate::publish::Mac> {
        let address = self.read(branch, address);
        let port = self.port_key(branch, port)?;
        let key = crate::publish::Neighbour { port, family, address };
        branch.datapath.neighbours.get(&key).copied()
    }

    fn neighbour_used(&mut self, branch: &Branch<'g, O::Place>) {
        use crate::parse::ethertype;
        use crate::program::Family;
        let context = &branch.context;
        let (family, address) = match context.get(field::ETH_TYPE) as u16 {
            ethertype::IPV4 => (Family::V4, context.get(field::IP4_SRC)),
            ethertype::ARP => (Family::V4, context.get(field::ARP_SPA)),
            ethertype::IPV6 => (Family::V6, context.get(field::IP6_SRC)),
            _ => return,
        };
        let Some(port) = PortKey::new(context.get(field::INPORT) as u16) else { return };
        let mac = mac_bytes(context.get(field::ETH_SRC));
        let known = crate::publish::Neighbour { port, family, address };
        if branch.datapath.neighbours.get(&known) == Some(&mac) {
            let datapath = branch.datapath.key;
            self.learned.push(Learned::NeighbourUsed { datapath, port, family, address, mac });
        }
    }

    fn select(
        &mut self,
        branch: &Branch<'g, O::Place>,
        members: &[(u16, u16)],
        fields: &[Slice],
    ) -> u16 {
        let mut hash = if fields.is_empty() { self.packet.hash } else { 0 };
        for slice in fields {
            let value = self.read(branch, *slice);
            hash = crate::cache::mix(hash ^ value as u64, (value >> 64) as u64 ^ SELECT);
        }
        let total: u64 = members.iter().map(|member| u64::from(member.1)).sum();
        let mut at = if total == 0 { 0 } else { crate::cache::mix(hash, SELECT) % total };
        for &(id, weight) in members {
            if at < u64::from(weight) {
                return id;
            }
            at -= u64::from(weight);
        }
        members.first().map_or(0, |member| member.0)
    }

    /// Whether the packet with its Ethernet header is longer than `limit`, for the verdict's lengths.
    pub(super) fn larger(&mut self, branch: &Branch<'g, O::Place>, limit: u32) -> bool {
        let base = &self.bases[branch.base];
        let larger = base.len > limit;
        if branch.base == 0 {
            let limit = limit + 4 * u32::from(base.popped);
            if larger {
                self.lengths.0 = self.lengths.0.max(limit + 1);
            } else {
                self.lengths.1 = self.lengths.1.min(limit);
            }
        }
        larger
    }

    fn answer_solicitation(
        &mut self,
        branch: &mut Branch<'g, O::Place>,
        router: bool,
    ) -> Result<(), DropReason> {
        let frame =
            answer::advertisement(&branch.context, router).ok_or(DropReason::LogicalFlow)?;
        self.replace(branch, frame)
    }

    /// Puts a frame of our own in the place of the packet; registers and metadata stay.
    pub(super) fn replace(
        &mut self,
        branch: &mut Branch<'g, O::Place>,
        frame: Vec<u8>,
    ) -> Result<(), DropReason> {
        let parsed =
            crate::parse::parse(&frame, frame.len(), None).map_err(|_| DropReason::Internal)?;
        let context = parsed.context(&frame);
        for slot in 6..=14 {
            branch.context.slots[slot] = context.slots[slot];
        }
        branch.written = u128::MAX;
        branch.ttl = TtlChange::Keep;
        branch.base = self.bases.len();
        self.bases.push(Base {
            context,
            layers: parsed.layers,
            popped: 0,
            len: frame.len() as u32,
        });
        self.built.push(frame);
        self.cacheable = false;
        Ok(())
    }
}

const SELECT: u64 = 0x9e37_79b9_7f4a_7c15;

fn mac_value(mac: crate::publish::Mac) -> u128 {
    mac.iter().fold(0, |word, byte| word << 8 | u128::from(*byte))
}

fn mac_bytes(value: u128) -> crate::publish::Mac {
    let mut mac = [0; 6];
    mac.copy_from_slice(&value.to_be_bytes()[10..]);
    mac
}
