package core

import "time"

// Stats is what a node does at one moment.
type Stats struct {
	Peers []PeerStats // those of [Manager.Connections], in their order, then the local node
	// Compression is what it has done, by handler: those for which messages were
	// compressed, or were to be.
	Compression []CompressionStats
}

// PeerStats is what happens between the node and one peer.
type PeerStats struct {
	Peer  string
	State State
	// Since is when it came into that state.
	Since time.Time
	// Transport is what the connection goes over, such as "websocket"; "" while
	// there is none.
	Transport string
	// Passed is why the transports that this node prefers to it are not in use,
	// see Config.Transport; nil if there are none.
	Passed error
	// Down is why there is no connection, since when, and how often it was tried:
	// what calls fail with. It is nil while there is one.
	Down error
	// Sent and Received are how many bytes the node has given to links to the peer
	// and taken from them, after their handshakes and without what the transport
	// adds to its frames. They begin anew for a peer that was removed and, when no
	// handler ran and nothing was held for it any more, is added again.
	Sent, Received int64
	// RoundTrip is how long the last ping took that was answered, see
	// [Connection.Ping]; 0 if none was. The library pings when nothing has arrived
	// for Config.KeepAlive, and not while there is traffic.
	RoundTrip time.Duration
	// Handlers is how many handlers run for the peer, or have answers that wait for it
	// to read.
	Handlers int
	// Held is how many bytes are reserved for large messages of the peer, see
	// Config.MaxReassembly, and Windows how many for the windows of streams, see
	// Config.MaxStreamBuffers.
	Held, Windows int64
	// Waiting is how many large messages of the peer wait for such memory.
	Waiting int
	// Streams are the streams that are open, on both sides.
	Streams []StreamStats
}

// StreamStats is one open stream.
type StreamStats struct {
	Handler HandlerID
	Route   string
	// Serving says that the stream was opened by the peer.
	Serving bool
	// Sending and Receiving are what the goroutines wait for that are in Send
	// and in Recv; the zero value where none is.
	Sending, Receiving StreamWait
}

// StreamWait says since when a stream waits, and for what.
type StreamWait struct {
	Since time.Time
	For   WaitReason
}

// WaitReason is what a stream waits for.
type WaitReason uint8

const (
	// WaitNone: it does not wait.
	WaitNone WaitReason = iota
	// WaitCredit: the user at the other end has to take messages first.
	WaitCredit
	// WaitMemory: the other node has to reserve memory for a large message, see
	// Config.MaxReassembly.
	WaitMemory
	// WaitLink: the link has to take what is queued.
	WaitLink
	// WaitMessage: the other end has to send a message.
	WaitMessage
)

func (r WaitReason) String() string {
	switch r {
	case WaitNone:
		return "nothing"
	case WaitCredit:
		return "the other end to take messages"
	case WaitMemory:
		return "memory at the other end"
	case WaitLink:
		return "the link"
	case WaitMessage:
		return "a message"
	default:
		return "unknown"
	}
}

// Stats returns what the node does at the moment. The parts of it are not of one
// instant. It looks at every open stream, which takes a while where there are
// many.
func (m *Manager) Stats() Stats {
	var all Stats
	if !m.made() {
		return all
	}
	for c := range m.Connections() {
		all.Peers = append(all.Peers, c.stats())
	}
	all.Peers = append(all.Peers, m.local.stats())
	all.Compression = m.flows.stats()
	return all
}

func (c *Connection) stats() PeerStats {
	c.mu.Lock()
	state, since := c.state, c.since
	var kind string
	var passed error
	if s := c.current.Load(); s != nil {
		kind, passed = s.tc.Info().Transport, c.passedLocked(s)
	}
	c.mu.Unlock()
	ps := PeerStats{
		Peer: c.name, State: state, Since: since, Transport: kind, Passed: passed,
		Handlers: int(c.handlers.Load()), Windows: c.windows.held.Load(),
		Sent: c.traffic.sent.Load(), Received: c.traffic.received.Load(), RoundTrip: time.Duration(c.traffic.roundTrip.Load()),
	}
	if ps.State != StateConnected {
		ps.Down = c.whyDown()
	}
	for k := range c.memory {
		held, waiting := c.memory[k].inUse()
		ps.Held += held
		ps.Waiting += waiting
	}
	for _, s := range c.m.liveSessions() {
		if s.peer.usage != c.usage { // those from before it was removed and added again finish
			continue
		}
		for _, st := range append(s.calls.streams(), s.in.streams()...) {
			ps.Streams = append(ps.Streams, st.stats())
		}
	}
	return ps
}

func (st *RawStream) stats() StreamStats {
	st.mu.Lock()
	defer st.mu.Unlock()
	ss := StreamStats{Handler: st.key.id, Route: st.key.route, Serving: st.serving()}
	if st.in.waiting {
		ss.Receiving = StreamWait{st.s.m.timeOf(st.in.since), WaitMessage}
	}
	if o := &st.out; o.waiting > 0 {
		ss.Sending = StreamWait{st.s.m.timeOf(o.since), o.waitsFor()}
	}
	return ss
}

// waitsFor is what the oldest Send waits for. RawStream.mu is held.
func (o *outbox) waitsFor() WaitReason {
	switch {
	case o.large != nil && o.buf == nil && !o.large.canGoOn():
		return WaitMemory
	case o.large != nil || o.buf != nil:
		return WaitLink
	default:
		return WaitCredit
	}
}

// streams returns the streams that the peer has open.
func (in *inbound) streams() (all []*RawStream) {
	for _, chunk := range in.used() {
		for i := range chunk.cells() {
			if ctx := chunk[i].ctx.Load(); ctx != nil {
				if st := ctx.stream.Load(); st != nil {
					all = append(all, st)
				}
			}
		}
	}
	return all
}

// inUse returns how many bytes are reserved, and how many messages wait.
func (b *budget) inUse() (held int64, waiting int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held, len(b.waiting)
}
