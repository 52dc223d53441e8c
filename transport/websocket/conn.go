package websocket

import (
	crand "crypto/rand"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"github.com/gridmux/gridmux/transport"
)

// maxFrame is the longest frame that WriteFrames sends.
const maxFrame = 64 << 20

var errClosed = fmt.Errorf("websocket: %w", net.ErrClosed)

// conn is a transport.Conn over an upgraded connection. It has no goroutine of
// its own, but for the one that answers pings while there are any.
type conn struct {
	// Immutable after newConn.
	nc       net.Conn // carries the frames
	raw      net.Conn // nc, or what is beneath it if nc is TLS
	client   bool     // we dialled, so we mask and the peer does not
	vectored bool     // nc takes several buffers in one system call
	info     transport.Info

	// Ending, which anyone may cause.
	closed   atomic.Bool                    // CloseWithError was called
	done     chan struct{}                  // closed with it
	violated atomic.Pointer[violation]      // what the peer did wrong, if it did
	peerEnd  atomic.Pointer[peerCloseError] // the peer's close frame was read
	writing  chan struct{}                  // the write lock: a slot, so that waiting for it can end with done
	out      writer                         // guarded by writing
	pongs    ponger
	in       reader // owned by the goroutine in ReadFrame
}

// setup is what Dial and ServeHTTP know about a new connection.
type setup struct {
	client   bool
	early    []byte // arrived behind the handshake; owned by the connection
	tls      *tls.ConnectionState
	peerName string
}

func newConn(nc net.Conn, s setup) *conn {
	c := &conn{
		nc:      nc,
		raw:     beneathTLS(nc),
		client:  s.client,
		done:    make(chan struct{}),
		writing: make(chan struct{}, 1),
		info: transport.Info{
			Transport:  name,
			LocalAddr:  nonNil(nc.LocalAddr()),
			RemoteAddr: nonNil(nc.RemoteAddr()),
			TLS:        s.tls,
			PeerName:   s.peerName,
			Headroom:   headroom,
			MaxFrame:   maxFrame,
			Integrity:  s.tls != nil,
		},
	}
	// The server that this was taken from, or Options.DialContext, may have left
	// a deadline behind.
	nc.SetDeadline(time.Time{})
	if isSocket(nc) {
		c.vectored = true
		c.in.socket = rawSocket(nc)
	}
	c.in.early = s.early
	if c.client {
		var seed [32]byte
		crand.Read(seed[:])
		c.out.masks = rand.NewChaCha8(seed)
	}
	return c
}

// Info describes the connection.
func (c *conn) Info() transport.Info { return c.info }

// isSocket reports whether nc is a socket of the net package itself. A type that
// embeds one may count or delay its bytes and must not be passed by.
func isSocket(nc net.Conn) bool {
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// beneathTLS returns the connection that TLS runs over. Closing it instead of
// the *tls.Conn never waits for an alert to be sent.
func beneathTLS(nc net.Conn) net.Conn {
	if t, ok := nc.(*tls.Conn); ok {
		return t.NetConn()
	}
	return nc
}

// unknownAddr stands in where a net.Conn has no address.
type unknownAddr struct{}

func (unknownAddr) Network() string { return "unknown" }
func (unknownAddr) String() string  { return "unknown" }

func nonNil(a net.Addr) net.Addr {
	if a == nil {
		return unknownAddr{}
	}
	return a
}
