package quic

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/internal/hook"
	"github.com/gridmux/gridmux/transport/internal/tlsname"
)

// Protocol is the ALPN name that both ends insist on. It changes when the
// protocol of the core changes incompatibly.
const Protocol = "gridmux/1"

// handshakeTimeout bounds everything up to the first frame, on either side.
const handshakeTimeout = 5 * time.Second

// What Options.Config leaves out. The core limits what it lets a peer send, per
// stream and in all, so the windows of QUIC are wide enough never to be what
// stalls; they grow from the first to the last figure as fast as the core reads.
// Who has not proved yet who it is can make this end buffer the first figure for
// the connection and no more, since the core reads little of it before. It is one
// and a half of that of a lane, the least that quic-go grows it to with a lane's; a
// message on a new lane waits a round trip for each doubling of the latter.
const (
	// defaultDialPatience is how long Dial waits for the first sign of a peer, and
	// later for the next one. It has room for a round trip of half a second and a
	// lost packet.
	defaultDialPatience = 1500 * time.Millisecond
	// defaultIdleTimeout is long, since the core looks after its peers by itself.
	defaultIdleTimeout = 10 * time.Minute

	defaultStreamWindow    = 512 << 10
	defaultMaxStreamWindow = 8 << 20
	defaultConnWindow      = 768 << 10
	defaultMaxConnWindow   = 24 << 20
	// initialPacketSize is what every path carries, since QUIC asks for that much.
	// quic-go's own 1280 bytes do not get over a link with the least MTU of IPv6; it
	// soon finds out how much more the path takes.
	initialPacketSize = 1200
	// maxLanes is how many lanes opened by one end may be open.
	maxLanes = 256
)

// Options sets a [Transport] up. Either TLS or GetTLS is required.
type Options struct {
	// TLS is the configuration of both roles: a node that listens needs a
	// certificate (Certificates, GetCertificate or GetConfigForClient). It is
	// cloned for each use, with NextProtos [Protocol], TLS 1.3, and without
	// sessions to be resumed: every connection is verified anew, VerifyConnection
	// and VerifyPeerCertificate included, which may refuse whatever else the user
	// asks of a certificate. Its ServerName is ignored, see below.
	TLS *tls.Config

	// GetTLS stands in for TLS where certificates and authorities are replaced
	// while the node runs. It is called for every handshake of either role, by
	// several goroutines at once; connections that exist are left alone. Listen
	// calls it once for itself, and what it returns then decides whether client
	// certificates are required. With an error, or nil, there is no connection.
	// A socket calls it for StatelessResetKey. It must not block, since the context
	// of Dial does not reach it, and handshakes, Dial, Listen and Close wait for it:
	// return the configuration that you hold, and renew it elsewhere.
	GetTLS func() (*tls.Config, error)

	// ServerName returns the name that the certificate of a dialled peer must be
	// valid for. nil: transport.CertificateName of the peer's Name. Where certificates
	// prove who a node is, which is without Config.Auth and Config.AllowInsecure of the
	// core, that of every node has to be valid for that one as well; so has, with mutual
	// TLS, that of a node which dials.
	// It may be called by several goroutines at once; a panic is a dial that fails, and
	// so is one that it takes longer for than the context of Dial lasts.
	ServerName func(transport.Peer) string

	// Resolve returns the addresses of a peer's Addr, in the order in which they are
	// to be tried. nil: a host and port, resolved as the net package does. Dial does not
	// wait for it when ctx has ended.
	Resolve func(ctx context.Context, addr string) ([]netip.AddrPort, error)

	// Config tunes quic-go, qlog by its Tracer included. It is cloned, and what is
	// zero in it becomes: HandshakeIdleTimeout 1.5 s, which is how long Dial waits
	// for a peer that says nothing; MaxIdleTimeout 10 min, which has to be longer
	// than the silences that the core's keep-alive allows; windows of 512 KiB to
	// 8 MiB per lane and 768 KiB to 24 MiB per connection; MaxIncomingStreams 257,
	// which is 256 lanes beside the first; InitialPacketSize 1200. 0-RTT, datagrams
	// and unidirectional streams are off whatever it says.
	Config *quicgo.Config

	// PacketConn is the socket to dial and listen on, in place of one that the
	// transport opens, whatever the address given to Listen. It stays the user's,
	// to be closed when listener and connections are, and until then only the transport
	// may read from it. A type that embeds a *net.UDPConn is faster than any other, and a
	// *net.UDPConn itself is the fastest: Linux gives it bursts as one (UDP_GRO).
	PacketConn net.PacketConn

	// Transport is a transport of quic-go that exists already: to dial with and,
	// unless Mounted, to listen on, whatever the address. It stays the user's. The
	// bounds on strangers hold beside its ConnContext and VerifySourceAddress, which
	// are set anew while Listen runs.
	Transport *quicgo.Transport

	// Mounted says that connections arrive at a listener of the user's, who passes
	// those with the ALPN name [Protocol] to ServeConn: Listen opens nothing. What
	// strangers can hold before, and the windows of the connections, are up to that
	// listener and its quic.Config.
	Mounted bool

	// RequireClientCert makes a mounted transport refuse every connection whose
	// client certificate was not verified, and so lets its listener promise mutual
	// TLS. An own listener does this by itself if TLS requires and verifies client
	// certificates.
	RequireClientCert bool

	// StatelessResetKey lets a node that was restarted tell its peers that it
	// knows nothing of their connections, which end at once then instead of after
	// the keep-alive's time-out. It has to stay the same over restarts and be
	// secret, and no other node may have it.
	//
	// nil: derived, for each socket, from the first private key in Certificates of
	// TLS, or of what GetTLS returns when the socket is opened, from the name of the
	// host and from the address that the socket is bound to. So nodes that share a
	// private key have to differ in one of the other two. A key that cannot be read,
	// as in a hardware module, or is only to be had by GetCertificate, and one that
	// was replaced meanwhile, give a random or another key: peers then fall back on
	// the keep-alive. Not used with Transport, which has its own.
	StatelessResetKey *quicgo.StatelessResetKey

	// Logger receives one warning if the buffers of the socket are too small, with
	// the remedy, and what went wrong with clients that failed in the handshake,
	// at most ten of those per second. Lines are written from a goroutine of their own,
	// which Close does not wait for; ten wait for a logger that is slow, and the others
	// are counted. nil: discarded.
	Logger *slog.Logger
}

// check returns what makes o unusable.
func (o *Options) check() error {
	switch {
	case o.TLS == nil && o.GetTLS == nil:
		return errors.New("quic: neither Options.TLS nor GetTLS is set: QUIC is always encrypted and needs certificates")
	case o.TLS != nil && o.GetTLS != nil:
		return errors.New("quic: of Options.TLS and GetTLS at most one may be set")
	case o.PacketConn != nil && o.Transport != nil:
		return errors.New("quic: of Options.PacketConn and Transport at most one may be set")
	case o.RequireClientCert && !o.Mounted:
		return errors.New("quic: Options.RequireClientCert is for a Mounted transport: " +
			"an own listener requires certificates with Options.TLS.ClientAuth = tls.RequireAndVerifyClientCert")
	}
	return nil
}

func (o *Options) logger() *slog.Logger {
	if o.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Logger
}

// tls is where the configurations come from.
func (o *Options) tls() tlsname.Source {
	return tlsname.Source{TLS: o.TLS, Get: o.GetTLS, Adapt: insist}
}

// clientTLS returns the configuration to dial a peer with.
func (o *Options) clientTLS(ctx context.Context, to transport.Peer) (_ *tls.Config, err error) {
	name := tlsname.Expected(to.Name, to.Addr)
	if o.ServerName != nil {
		name, err = hook.Call(ctx, "Options.ServerName", func() (string, error) { return o.ServerName(to), nil }, nil)
		if err != nil {
			return nil, err
		}
	}
	return o.tls().Client(name)
}

// insist makes c agree on our protocol alone: two ends that name none would
// understand each other without any.
func insist(c *tls.Config) {
	c.NextProtos = []string{Protocol}
	c.MinVersion = tls.VersionTLS13
	if c.MaxVersion != 0 {
		c.MaxVersion = max(c.MaxVersion, c.MinVersion)
	}
}

// quicConfig returns the configuration of every connection.
func (o *Options) quicConfig() *quicgo.Config {
	c := new(quicgo.Config)
	if o.Config != nil {
		c = o.Config.Clone()
	}
	setDefault(&c.HandshakeIdleTimeout, defaultDialPatience)
	setDefault(&c.MaxIdleTimeout, defaultIdleTimeout)
	setDefault(&c.InitialStreamReceiveWindow, defaultStreamWindow)
	setDefault(&c.MaxStreamReceiveWindow, max(defaultMaxStreamWindow, c.InitialStreamReceiveWindow))
	setDefault(&c.InitialConnectionReceiveWindow, max(defaultConnWindow, c.InitialStreamReceiveWindow))
	setDefault(&c.MaxConnectionReceiveWindow, max(defaultMaxConnWindow, c.InitialConnectionReceiveWindow))
	setDefault(&c.MaxIncomingStreams, maxLanes+1)
	setDefault(&c.InitialPacketSize, initialPacketSize)
	c.GetConfigForClient = nil // what it returns could bring back what is off
	c.MaxIncomingUniStreams = -1
	c.Allow0RTT = false
	c.EnableDatagrams = false
	// A stream counts until it is done, whoever looks after it.
	c.RequireStreamCreditRelease = false
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
