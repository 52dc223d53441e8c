package core

import (
	"fmt"
	"iter"
	"maps"
	"sync/atomic"
)

// members are the local node and its peers. It is immutable; SetPeers makes
// another one.
type members struct {
	local  *Connection
	list   []*Connection // the peers, in the order in which they were given
	byName map[string]*Connection
	byAddr map[string]*Connection
}

func newMembers(local *Connection, peers []*Connection) *members {
	s := &members{local: local, list: peers, byName: map[string]*Connection{}, byAddr: map[string]*Connection{}}
	s.index(local)
	for _, c := range peers {
		s.index(c)
	}
	return s
}

func (s *members) index(c *Connection) {
	s.byName[c.name] = c
	if addr := c.address(); addr != "" {
		s.byAddr[addr] = c
	}
}

// usage is what a peer takes of this node's means, and has taken of the network. A peer that reconnects, or is
// removed and added again, finds taken what the handlers and messages of its
// earlier sessions still hold. It is forgotten when the peer is no member and nothing
// is held.
type usage struct {
	handlers atomic.Int32  // inbound calls whose handler has a place
	hinted   atomic.Int64  // bytes of large buffers that handlers have for their results
	memory   [kinds]budget // for large messages
	windows  windows       // of streams
	sharing  sharing       // windows that messages of streams share
	traffic  traffic
	bulk     atomic.Uint64 // bytes that the peer has sent of requests in parts, or has read of bulk by its word
	notify   notifier      // of changes of state: in order, also when it is added again
}

func (m *Manager) newUsage(name string) *usage {
	u := &usage{windows: windows{limit: int64(m.cfg.MaxStreamBuffers), ends: 1}, notify: notifier{fn: m.tellState}}
	if name == m.cfg.Local.Name {
		// Both windows of a stream are this node's, where else each end has its own: the
		// same number of streams fits.
		u.windows.ends = 2
	}
	for k := range u.memory {
		u.memory[k].limit = int64(m.cfg.MaxReassembly)
	}
	u.memory[kindRequest].patience = grantPatience
	return u
}

// idle reports whether nothing is in use.
func (u *usage) idle() bool {
	for k := range u.memory {
		if held, waiting := u.memory[k].inUse(); held != 0 || waiting != 0 {
			return false
		}
	}
	return u.handlers.Load() == 0 && u.hinted.Load() == 0 && u.windows.held.Load() == 0 &&
		u.sharing.sends.Load() == 0 && u.sharing.receives.Load() == 0 && u.notify.idle()
}

// usageOf returns what a node that is becoming a member uses already.
func (m *Manager) usageOf(name string) *usage {
	u := m.usages[name]
	if u == nil {
		u = m.newUsage(name)
		m.usages[name] = u
	}
	return u
}

// forgetUsages drops what former members do not use any more. m.peersMu is held.
func (m *Manager) forgetUsages() {
	now := m.members.Load()
	maps.DeleteFunc(m.usages, func(name string, u *usage) bool {
		return now.byName[name] == nil && u.idle()
	})
}

// find returns the connection to a node by its name, or else by its address.
func (s *members) find(host string) *Connection {
	if c := s.byName[host]; c != nil {
		return c
	}
	return s.byAddr[host]
}

// Connection returns the connection to a node by its name, or else by its
// address. It is never nil: the local node has a loopback with the same
// semantics, and the calls of an unknown one fail with [ErrUnknownPeer] until
// [Manager.SetPeers] has added it.
func (m *Manager) Connection(host string) *Connection {
	if m.made() {
		if c := m.members.Load().find(host); c != nil {
			return c
		}
	}
	return &Connection{m: m, name: host, unknown: true}
}

// resolve returns what a handle stands for now: itself, or the connection to a
// node of that name, or address, that was added after the handle was made or
// after its own node was removed.
func (c *Connection) resolve() *Connection {
	if c == nil || !c.m.made() {
		return c
	}
	if !c.unknown {
		c.mu.Lock()
		removed := c.removed
		c.mu.Unlock()
		if !removed {
			return c
		}
	}
	members := c.m.members.Load()
	now := members.byName[c.name]
	if now == nil && c.unknown {
		now = members.byAddr[c.name]
	}
	if now == nil {
		return c
	}
	return now
}

// Connections iterates over the connections to all peers, the local node not
// among them, as they are when it begins.
func (m *Manager) Connections() iter.Seq[*Connection] {
	return func(yield func(*Connection) bool) {
		if !m.made() {
			return
		}
		for _, c := range m.members.Load().list {
			if !yield(c) {
				return
			}
		}
	}
}

// SetPeers replaces the peers of the node, in the form of Config.Peers. It can
// be called at any time, under traffic too, and does not wait:
//
//   - A node that is new is dialled.
//   - One that is left out is drained: it is told, calls in progress finish in
//     both directions, new ones fail with [ErrUnknownPeer], and the connection
//     ends when the last call has, or when only the peer is waited for and does
//     nothing for as long as in [Manager.Shutdown]. Its attempts to connect are
//     refused.
//   - One whose address has changed is dialled at the new address. Calls in
//     progress finish on the old connection, new ones wait or fail until there
//     is the new one. For ten seconds the process at the old address is not
//     taken if it connects by itself, unless it was reached at the new one.
//
// Name is the identity. A [Connection] of a node that was left out works again
// when the node is added again. If anything is wrong with peers, SetPeers
// returns an error and changes nothing.
func (m *Manager) SetPeers(peers []Node) error {
	if !m.made() {
		return peersError(errNoManager)
	}
	checked, err := remotePeers(&m.cfg.Local, peers, "peers")
	if err != nil {
		return peersError(err)
	}
	m.peersMu.Lock()
	defer m.peersMu.Unlock()
	switch {
	case m.ctx.Err() != nil:
		return peersError(ErrClosed)
	case m.draining.Load():
		return peersError(errDrainingHere)
	}
	m.forgetUsages() // of those that left before, which may be added again
	old := m.members.Load()
	left := make(map[string]*Connection, len(old.list))
	for _, c := range old.list {
		left[c.name] = c
	}
	var list, added []*Connection
	for _, n := range checked {
		c := left[n.Name]
		delete(left, n.Name)
		switch {
		case c == nil:
			c = newConnection(m, n)
			added = append(added, c)
		case c.address() != n.Addr:
			c.move(n.Addr)
		}
		list = append(list, c)
	}
	members, started := newMembers(m.local, list), m.local.State() == StateConnected
	// Nobody is to find one, and take the node for one that was not started, nor to be told
	// of one that is not to be found.
	for _, c := range added {
		c.mu.Lock()
	}
	m.members.Store(members)
	for _, c := range added {
		if started {
			c.setStateLocked(StateConnecting, nil)
		}
		c.mu.Unlock()
	}
	for _, c := range old.list {
		if left[c.name] != nil {
			c.remove()
		}
	}
	if started {
		for _, c := range added {
			c.connect()
		}
	}
	return nil
}

func peersError(err error) error { return fmt.Errorf("gridmux: SetPeers: %w", err) }
