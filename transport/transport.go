package transport

import (
	"context"
	"crypto/tls"
	"net"
)

// Peer is the node to dial.
type Peer struct {
	// Name identifies the node. A transport that authenticates its peers (TLS)
	// verifies this name, not the host part of Addr.
	Name string
	// Addr is what the node listens on, in the transport's own form. It is
	// resolved anew at every Dial.
	Addr string
}

// Transport makes framed connections. All methods may be called concurrently.
// One Transport value serves one node.
type Transport interface {
	// Dial makes one attempt to connect and returns when the connection can
	// carry frames, or why it cannot. It obeys ctx in every phase (resolving,
	// connecting, TLS, upgrade) and leaves nothing behind when it fails. Once
	// it has returned, ctx has no influence on the connection. Failures are a
	// *[DialError] that names the phase.
	Dial(ctx context.Context, to Peer) (Conn, error)

	// Listen binds addr and returns at once; connections may arrive before the
	// first Accept. ctx bounds Listen alone; it fails if ctx has ended, and for
	// an address that is in use.
	Listen(ctx context.Context, addr string) (Listener, error)
}

// Listener accepts connections that peers dialled.
type Listener interface {
	// Accept returns the next connection that is ready to carry frames. A
	// client that is slow or fails in the transport's own handshake neither
	// delays nor fails Accept: it is dropped by the transport. Accept returns
	// ctx.Err() (or its cause) when ctx ends, without losing a connection, and
	// an error matching net.ErrClosed after Close. Any other error means that
	// the listener is unusable. It may be called concurrently.
	Accept(ctx context.Context) (Conn, error)

	// Addr is the bound address, with the port that was chosen if addr asked
	// for any.
	Addr() net.Addr

	// Close stops listening, closes connections that nobody accepted yet, and
	// makes every Accept return. Accepted connections live on, and the address
	// is free again. Close may be called any number of times, from any
	// goroutine; it waits for the listener's own goroutines.
	Close() error

	// Info tells what holds for every connection of this listener, before the
	// first one arrives.
	Info() ListenerInfo
}

// ListenerInfo describes a [Listener].
type ListenerInfo struct {
	// Local: its connections never leave the process.
	Local bool
	// TLS: every accepted connection speaks TLS.
	TLS bool
	// MutualTLS: every accepted connection has presented a certificate that
	// the transport verified, so TLS holds too.
	MutualTLS bool
}

// Conn is a framed connection: ordered, reliable, keeping frame boundaries.
//
// Concurrency: one goroutine may be in ReadFrame while another is in
// WriteFrames; neither method is called concurrently with itself.
// CloseWithError and Info may be called at any time from any goroutine.
//
// There are no deadlines: ReadFrame and WriteFrames return when they are done,
// when the connection fails, or when CloseWithError is called.
//
// After the first error of ReadFrame or WriteFrames the respective direction is
// broken and every later call of that method fails too; the other direction
// may still work. The owner must call CloseWithError in any case, which frees
// all resources.
type Conn interface {
	// ReadFrame returns the next frame. The slice is borrowed: it is valid
	// until ReadFrame is called again, whatever else happens to the connection,
	// and the caller may write to it. An empty frame is returned as a slice of length 0, with a
	// nil error.
	//
	// A frame longer than limit bytes gives an error matching
	// [ErrFrameTooLarge] as soon as its length is known, before any memory is
	// allocated for it, however large the announced length is. limit may
	// differ from call to call and is at least 1.
	//
	// The transport owns the read buffer and holds none while it waits for a
	// frame to begin.
	//
	// Errors: after CloseWithError on this side one matching net.ErrClosed.
	// After CloseWithError on the other side first all frames that arrived
	// before, then a *[CloseError] with its code and reason. A link that ends
	// otherwise, be it between frames or in the middle of one, gives an error
	// that is neither; a partial frame is never returned, and io.EOF is never
	// returned bare.
	ReadFrame(limit int) ([]byte, error)

	// WriteFrames sends frames in order. Each begins with Info().Headroom bytes
	// that belong to the transport's header; the frame proper is what follows,
	// so a slice of exactly Headroom bytes is an empty frame. The batch goes
	// out in one system call where the link allows it. The transport may
	// scribble over the frames (headroom and payload) and over the elements of
	// the outer slice during the call, and keeps neither after it.
	//
	// It blocks while the link takes no more; a link takes at least 16 KiB that
	// nobody reads, and a bounded amount. Without frames it does nothing. If any frame is longer than
	// Info().MaxFrame it returns an error matching [ErrFrameTooLarge] and has
	// sent nothing of the batch; the connection stays usable. A nil error says
	// that the transport took the frames, not that the peer got them.
	//
	// Errors: after CloseWithError on this side one matching net.ErrClosed;
	// after the other side closed, or the link failed, any other error, though
	// not necessarily at once.
	WriteFrames(frames [][]byte) error

	// CloseWithError ends the connection, unblocks ReadFrame and WriteFrames,
	// and frees its resources. It sends code and reason to the peer if the link
	// takes them at once, after the frames of every WriteFrames that returned;
	// it does not need the peer for that, and returns within a second even
	// when the link takes nothing. It may be called any number of times; the first call
	// counts and its code and reason are the ones sent, unless the peer broke
	// the protocol of the link: then it is told that. What the peer has not read
	// by then may be lost all the same, as TCP resets a connection on which it
	// sends something to a socket that is closed: who needs it to arrive waits for
	// an answer before. It returns nil unless releasing the link failed.
	//
	// code 0 is an orderly end. Codes 1 to [MaxCode] are the user's. Codes
	// above are the transport's own, see [CodeProtocol]. The reason arrives as
	// [CutReason] makes it.
	CloseWithError(code uint32, reason string) error

	// Info describes the connection. It is constant and cheap.
	Info() Info
}

// Info describes a [Conn].
type Info struct {
	// Transport names the kind of link for logs and errors, such as
	// "websocket".
	Transport string
	// LocalAddr and RemoteAddr are the two ends; never nil.
	LocalAddr, RemoteAddr net.Addr
	// TLS is the state of the TLS session, nil if there is none. It must not
	// be modified.
	TLS *tls.ConnectionState
	// PeerName is the node name that the transport itself proved, as from a
	// verified certificate; empty if it proved none.
	PeerName string
	// Headroom is the number of bytes that every frame given to WriteFrames
	// begins with; 0 to 64.
	Headroom int
	// MaxFrame is the longest frame, without headroom, that WriteFrames
	// accepts; at least 64 KiB.
	MaxFrame int
	// Integrity: the link itself detects corruption and injection beyond the
	// TCP and UDP checksums, as TLS does. Without it the core adds a checksum.
	Integrity bool
	// Local: the connection never leaves the process.
	Local bool
	// Lanes: the connection is a [LaneConn] whose lanes are independent of each
	// other on the link as well, so that what is lost on one holds up no other. The
	// core then gives streams and large messages lanes of their own.
	Lanes bool
}

// PeerVerified reports whether the other end presented a certificate that was
// verified. On the accepting side that is what makes TLS mutual.
func (i Info) PeerVerified() bool { return i.TLS != nil && len(i.TLS.VerifiedChains) > 0 }
