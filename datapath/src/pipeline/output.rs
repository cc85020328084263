//! Output decisions (section 5.4): which port, chassis or peer datapath a packet goes to.

use super::*;

impl<'g, O: Observer, S: Surroundings> Walk<'g, '_, '_, O, S> {
    /// `output` in an ingress pipeline, or arrival from a tunnel (PHY-04, PHY-05).
    pub(super) fn decide(&mut self, branch: &mut Branch<'g, O::Place>) -> Step {
        let key = u16::try_from(branch.context.get(field::OUTPORT)).ok().and_then(PortKey::new);
        let key = key.ok_or(DropReason::NoOutport)?;
        if let Some(group) = branch.datapath.groups.get(&key) {
            self.replicate(branch, key, group);
            return Ok(false);
        }
        let port = branch.datapath.ports.get(key).ok_or(DropReason::NoOutport)?;
        match &port.place {
            Place::Remote(tunnels) => {
                if branch.from_tunnel {
                    return Err(DropReason::Unbound);
                }
                self.tunnels(branch, key, tunnels)?;
                Ok(false)
            }
            Place::Local { also, .. } => {
                if !also.is_empty() && !branch.from_tunnel {
                    let mut local = branch.clone();
                    local.at = At::Local(key);
                    self.work.push(local);
                    self.tunnels(branch, key, also)?;
                    return Ok(false);
                }
                branch.at = At::Local(key);
                Ok(true)
            }
            Place::Patch(_) => {
                branch.at = At::Local(key);
                Ok(true)
            }
            Place::Unbound => Err(DropReason::Unbound),
            Place::NotExecuted(_) | Place::Distributed(_) | Place::Anywhere => {
                Err(DropReason::NotExecuted)
            }
        }
    }

    /// OUT-6: one branch for each local member, one copy for each chassis. Patch ports and localports
    /// hang on the tables that lead to tunnels: what must not leave this chassis, and what came from
    /// another, is not for them either. Each member gets the packet as it was; upstream, what one
    /// member's egress pipeline changes is seen by the next.
    fn replicate(
        &mut self,
        branch: &mut Branch<'g, O::Place>,
        key: PortKey,
        group: &'g crate::publish::Group,
    ) {
        branch.place = self.observer.output(
            branch.place,
            branch.datapath,
            key.get(),
            Decision::Group,
            &branch.context,
        );
        let leaves = !branch.from_tunnel && self.may_leave(branch);
        let ours: &[PortKey] = if leaves { &group.ingress_only } else { &[] };
        // The list of work is a stack: the last member is pushed first.
        for member in group.local.iter().chain(ours).rev() {
            let mut copy = branch.clone();
            copy.context.set(field::OUTPORT, u128::from(member.get()));
            copy.at = At::Local(*member);
            self.work.push(copy);
        }
        if leaves {
            for tunnel in &group.remote {
                if let Err(reason) = self.tunnel(branch, key, *tunnel) {
                    self.dropped(branch.place, reason, branch.flow);
                }
            }
        }
    }

    /// Local output: the loopback check and the egress pipeline (PHY-06).
    pub(super) fn local(&mut self, branch: &mut Branch<'g, O::Place>, key: PortKey) -> Step {
        let port = branch.datapath.ports.get(key).ok_or(DropReason::NoOutport)?;
        match &port.place {
            Place::Local { .. } | Place::Patch(_) => {}
            Place::NotExecuted(_) | Place::Distributed(_) | Place::Anywhere => {
                return Err(DropReason::NotExecuted);
            }
            Place::Remote(_) | Place::Unbound => return Err(DropReason::Unbound),
        }
        let loopback = branch.context.get(field::FLAGS) & u128::from(flag::LOOPBACK) != 0;
        if !loopback && branch.context.get(field::INPORT) == u128::from(key.get()) {
            self.observer.output(
                branch.place,
                branch.datapath,
                key.get(),
                Decision::Omitted,
                &branch.context,
            );
            return Err(DropReason::Loopback);
        }
        branch.place = self.observer.output(
            branch.place,
            branch.datapath,
            key.get(),
            Decision::Local,
            &branch.context,
        );
        // reg0 to reg9.
        branch.context.set(field::XXREG0, 0);
        branch.context.set(field::XXREG1, 0);
        branch.context.set(field::XREG4, 0);
        branch.at = At::Table(Pipeline::Egress, 0);
        Ok(true)
    }

    /// `output` in an egress pipeline (PHY-08, PHY-09, OUT-11).
    pub(super) fn deliver(&mut self, branch: &mut Branch<'g, O::Place>) -> Step {
        let key = u16::try_from(branch.context.get(field::OUTPORT)).ok().and_then(PortKey::new);
        let key = key.ok_or(DropReason::NoOutport)?;
        let port = branch.datapath.ports.get(key).ok_or(DropReason::NoOutport)?;
        let flags = branch.context.get(field::FLAGS) as u32;
        match &port.place {
            Place::Local { interface, tag, .. } => {
                let back = flags & (flag::LOOPBACK | flag::NESTED_CONTAINER) != 0 || tag.is_some();
                if branch.arrival == Some(*interface) && !back {
                    return Err(DropReason::Loopback);
                }
                branch.place = self.observer.output(
                    branch.place,
                    branch.datapath,
                    key.get(),
                    Decision::Deliver,
                    &branch.context,
                );
                let port = self.surroundings.port((branch.datapath.key, key));
                let target = Target::Interface { to: *interface, tag: *tag, port };
                self.emit(branch, target);
                Ok(false)
            }
            Place::Patch(peer) => {
                branch.place = self.observer.output(
                    branch.place,
                    branch.datapath,
                    key.get(),
                    Decision::Patch,
                    &branch.context,
                );
                if flags & flag::LOOPBACK != 0 {
                    branch.arrival = None;
                }
                self.cross(branch, *peer)
            }
            Place::Remote(_) | Place::Unbound => Err(DropReason::Unbound),
            Place::NotExecuted(_) | Place::Distributed(_) | Place::Anywhere => {
                Err(DropReason::NotExecuted)
            }
        }
    }

    /// Into the ingress pipeline of a peer datapath: metadata starts afresh (OUT-11, LP-4).
    fn cross(&mut self, branch: &mut Branch<'g, O::Place>, peer: Attachment) -> Step {
        let Some(datapath) = self.datapath(peer.datapath) else {
            return Err(DropReason::Unbound);
        };
        branch.path += 1;
        branch.datapath = datapath;
        for slot in [0, 1, 3, 4, 5, 15, 16] {
            branch.context.slots[slot] = 0;
        }
        let mark = branch.context.get(field::PKT_MARK);
        branch.context.slots[2] = 0;
        branch.context.set(field::PKT_MARK, mark);
        branch.context.set(field::INPORT, u128::from(peer.port.get()));
        branch.from_tunnel = false;
        branch.at = At::Table(Pipeline::Ingress, 0);
        Ok(true)
    }

    /// OUT-4: by the flag, and by the ingress port, not by the flag for localports: that one is about
    /// provider networks.
    fn may_leave(&self, branch: &Branch<'g, O::Place>) -> bool {
        let flags = branch.context.get(field::FLAGS) as u32;
        let inport = u16::try_from(branch.context.get(field::INPORT)).ok().and_then(PortKey::new);
        let inport = inport.and_then(|key| branch.datapath.ports.get(key));
        flags & flag::LOCAL_ONLY == 0 && !inport.is_some_and(|port| port.localport)
    }

    /// To one chassis, or to all that hold a port during a live migration (OUT-2, OUT-8).
    fn tunnels(
        &mut self,
        branch: &Branch<'g, O::Place>,
        key: PortKey,
        tunnels: &[TunnelId],
    ) -> Result<(), DropReason> {
        if !self.may_leave(branch) {
            return Err(DropReason::LocalOnly);
        }
        if tunnels.is_empty() {
            return Err(DropReason::Unbound);
        }
        for tunnel in tunnels {
            if let Err(reason) = self.tunnel(branch, key, *tunnel) {
                self.dropped(branch.place, reason, branch.flow);
            }
        }
        Ok(())
    }

    fn tunnel(
        &mut self,
        branch: &Branch<'g, O::Place>,
        key: PortKey,
        id: TunnelId,
    ) -> Result<(), DropReason> {
        let tunnel = self.generation.tunnels.get(&id);
        self.rest_on(Dependency::Tunnel(id, tunnel.map_or(0, |tunnel| tunnel.epoch)));
        let tunnel = tunnel.ok_or(DropReason::Unbound)?;
        let link = tunnel.link.as_ref().ok_or(DropReason::NoNextHop)?;
        let inport = branch.context.get(field::INPORT) as u16;
        let outer = Outer::new(tunnel, link, branch.datapath.key, inport, key)?;
        let growth =
            self.rewrite(branch).growth() + 4 * isize::from(self.bases[branch.base].popped);
        let most = outer.max_frame.saturating_add_signed(-growth);
        if self.larger(branch, u32::try_from(most).unwrap_or(u32::MAX)) {
            return self.too_big(branch, outer.max_frame);
        }
        self.observer.output(
            branch.place,
            branch.datapath,
            key.get(),
            Decision::Tunnel(id),
            &branch.context,
        );
        self.emit(branch, Target::Tunnel(outer));
        Ok(())
    }

    /// Section 5.11: the sender is told, as if by the destination (PHY-03).
    ///
    /// The frame is what `reply_imcp_error_if_pkt_too_big` makes: addresses and ports exchanged, TTL
    /// 255, the loopback flag. Upstream sends it through the ingress pipeline, which finds the
    /// sender's port again, as the destination's port would have; here it goes to that port at once,
    /// so that no ACL about the destination takes path MTU discovery from the sender. Upstream does
    /// this for ports on several chassis only and leaves the rest to the kernel's tunnels, whose
    /// errors tenants see from the same address.
    fn too_big(
        &mut self,
        branch: &Branch<'g, O::Place>,
        max_frame: usize,
    ) -> Result<(), DropReason> {
        self.cacheable = false;
        let rewrite = self.rewrite(branch);
        let original = match branch.base {
            0 => self.packet.head,
            built => self.built.get(built - 1).map_or(&[][..], Vec::as_slice),
        };
        let layers = self.bases[branch.base].layers;
        let frame = answer::too_big(original, &layers, &rewrite, &branch.context, max_frame)
            .ok_or(DropReason::TooBig)?;
        if !self.surroundings.may_send_error() {
            return Err(DropReason::TooBig);
        }
        let mut error = branch.clone();
        self.replace(&mut error, frame)?;
        let inport = error.context.get(field::INPORT);
        let inport = u16::try_from(inport).ok().and_then(PortKey::new).ok_or(DropReason::TooBig)?;
        let flags = error.context.get(field::FLAGS) | u128::from(flag::LOOPBACK);
        error.context.set(field::FLAGS, flags);
        let outport = error.context.get(field::OUTPORT);
        error.context.set(field::INPORT, outport);
        error.context.set(field::OUTPORT, u128::from(inport.get()));
        error.path += 1;
        if error.path > MAX_PATH {
            return Err(DropReason::TooManyHops);
        }
        error.at = At::Local(inport);
        self.work.push(error);
        Ok(())
    }

    fn rewrite(&self, branch: &Branch<'g, O::Place>) -> Rewrite {
        let base = &self.bases[branch.base];
        let written = if branch.base == 0 {
            branch.written
        } else {
            base.context.slots[GUARDED_SLOT] ^ branch.context.slots[GUARDED_SLOT]
        };
        Rewrite::between(
            &base.context,
            &branch.context,
            &base.layers,
            base.popped,
            branch.ttl,
            written,
        )
    }

    fn emit(&mut self, branch: &Branch<'g, O::Place>, target: Target) {
        let frame = match branch.base {
            0 => Source::Arrived,
            built => Source::Built(built - 1),
        };
        let rewrite = self.rewrite(branch);
        self.outputs.push(Output { frame, rewrite, target });
    }
}
