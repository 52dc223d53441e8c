package core

import (
	"maps"
	"slices"

	"github.com/gridmux/gridmux/core/internal/audit"
)

//nolint:gochecknoinits // A variable of another package is set: there is no other place for it.
func init() {
	audit.Of = func(manager any) audit.Books {
		m, ok := manager.(*Manager)
		if !ok {
			return audit.Books{}
		}
		return m.books()
	}
}

// books is what the node holds, for the simulation.
func (m *Manager) books() (b audit.Books) {
	b.Handlers = int(m.handlersRunning.Load())
	m.peersMu.Lock()
	b.Usages = make([]audit.Usage, 0, len(m.usages))
	for _, name := range slices.Sorted(maps.Keys(m.usages)) {
		b.Usages = append(b.Usages, m.usages[name].audit(name))
	}
	m.peersMu.Unlock()
	live := m.liveSessions()
	b.Sessions = make([]audit.Session, 0, len(live))
	for _, s := range live {
		if !s.ending.Load() {
			b.Sessions = append(b.Sessions, s.audit())
		}
	}
	return b
}

func (u *usage) audit(peer string) audit.Usage {
	a := audit.Usage{Peer: peer, Handlers: int(u.handlers.Load()), Windows: u.windows.held.Load()}
	a.Sharing = int(u.sharing.sends.Load() + u.sharing.receives.Load())
	for k := range u.memory {
		b := &u.memory[k]
		b.mu.Lock()
		a.Memory[k] = audit.Memory{Held: b.held, Waiting: len(b.waiting)}
		b.mu.Unlock()
	}
	return a
}

func (s *session) audit() audit.Session {
	a := audit.Session{Peer: s.peer.name, Dialled: s.side == 0, Lane: s.isLane(), Busy: int(s.busy.Load())}
	w := &s.w
	w.mu.Lock()
	a.Unsent, a.Control = w.unsent+w.room.promised, !w.noControl()
	a.Turns = !w.bulk.empty() || len(w.turns) > 0
	a.Unacked = max(w.bulk.pace.marked, w.bulk.pace.acked) - w.bulk.pace.acked
	for k := range kinds {
		a.Ungranted += len(w.bulk.begun[k])
		for prio := range priorities {
			for range w.bulk.later[k][prio].all() {
				a.Ungranted++
			}
		}
	}
	w.mu.Unlock()
	a.Pending = s.calls.pending()
	for _, st := range s.calls.streams() {
		a.Streams = append(a.Streams, st.audit())
	}
	s.in.mu.Lock()
	chunks := slices.Clone(s.in.chunks)
	s.in.mu.Unlock()
	for _, chunk := range chunks {
		for i := range chunk.cells() {
			if ctx := chunk[i].ctx.Load(); ctx != nil {
				if st := ctx.stream.Load(); st != nil {
					a.Streams = append(a.Streams, st.audit())
				}
			}
		}
	}
	return a
}

func (st *RawStream) audit() audit.Stream {
	st.mu.Lock()
	defer st.mu.Unlock()
	q, o := &st.in, &st.out
	return audit.Stream{
		ID: uint64(st.id), Serving: st.serving(), Held: q.held,
		In:      audit.Credit{Messages: q.messages, Capacity: q.capacity, Bytes: q.bytes, Window: q.window, First: q.first},
		Out:     audit.Credit{Messages: o.messages, Capacity: o.capacity, Bytes: o.bytes, Window: o.window, First: o.window},
		InOpen:  !st.over && !q.ended,
		OutOpen: !st.over && !o.ended && !o.cut,
		Idle:    q.waiting && len(q.chunks) == 0 && len(q.large) == 0,
	}
}
