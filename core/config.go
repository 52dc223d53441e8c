package core

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// Node is a member of the cluster.
type Node struct {
	// Name identifies the node, at most 255 bytes. Empty: Addr is the name.
	Name string
	// Addr is what the other nodes dial, in the form of the transport: host and
	// port for websocket, any string for inmem. Of [transport.Fallback] it is one
	// for all transports, or one for each, separated by commas.
	Addr string
}

// Config describes a node. The zero value of every limit and time-out stands
// for the default that its comment states; negative values are errors.
type Config struct {
	// Cluster must be the same on both sides of a connection, so that a
	// staging node never joins production. At most 255 bytes.
	Cluster string
	// Local is this node. Its Addr, or Listen, is required.
	Local Node
	// Listen is the address that Start binds; empty: Local.Addr.
	Listen string
	// Peers are the other nodes. Local may be among them and is skipped, so
	// that all nodes can share one list.
	Peers []Node
	// Transport carries the frames. Required. With [transport.Fallback], or any
	// other [transport.MultiTransport], the node listens on several and connects
	// to each peer over the best that works: they are tried in order, each with a
	// head start of 250 ms, or of 2 s where it has worked for that peer, and the
	// first is taken over which the whole handshake succeeds. One that fails where
	// another works, or is lost within 5 min, is left alone for 5 min, doubled each
	// time up to 1 h, each give or take a quarter, by each of the two nodes for itself.
	// While a peer is connected over a lesser one the better ones are tried again, and
	// when one works new calls go over it. Calls and streams that are on the old link
	// end there: it is closed with the last of them, and [Draining] tells handlers on
	// it. A call that still waits to be written when the old link is left, a
	// KeepAlive later, is made on the new one; a stream of which nothing was written
	// by then fails with [OutcomeNotSent]. Whoever can block a transport between
	// two nodes chooses another of the list for them. So Start fails where any of
	// them would let strangers in, where one speaks TLS and another does not, and
	// where one asks for certificates and another does not, unless AllowInsecure is set
	// or AllowTLSProxy for what it says. See [PeerStats] for which is in use, and why.
	Transport transport.Transport
	// Auth makes nodes prove to each other who they are, see [SharedKey] and
	// [NodeKeys]. All nodes of a cluster need the same kind. It may be nil with
	// mutual TLS, with a transport that never leaves the process, and with
	// AllowInsecure. It proves who connects; only TLS keeps what follows secret
	// and safe from somebody who sits on the wire.
	Auth Authenticator
	// AllowInsecure lets a node without Auth talk over links that prove nothing
	// about who is at the other end: everything but mutual TLS and links that
	// never leave the process. Whoever reaches the port is then believed. It
	// also lets nodes fall back from TLS to a transport without it, and from mutual TLS
	// to one where Auth alone proves who it is.
	AllowInsecure bool
	// AllowTLSProxy says that something of yours ends TLS between the nodes, as
	// a reverse proxy does. It has to be set on both. Without it the proofs of
	// Auth cover the TLS session, so that nobody can sit in the middle, and a
	// link that speaks TLS at one end only is refused.
	AllowTLSProxy bool
	// Compressors are what this node can decode besides the Compressors of its own
	// handlers, see [WithCompression]: a node that calls handlers of others, and has none
	// with compression itself, names those here that the others use.
	Compressors []Compressor
	// Intercept surrounds all calls of this node: those that it makes and those
	// that it serves, single requests and streams. The first is outermost.
	Intercept []Interceptor
	// OnState is told of every change of a peer's state: in order per peer,
	// from a goroutine of its own, so that it may block without holding up
	// anything but later changes of the same peer. Changes that it is too slow
	// for are dropped in pairs; the last one always arrives.
	OnState func(StateChange)
	// Logger gets one line per change of a peer's state, never one per attempt,
	// one when a connected peer moves to another transport, the stacks of
	// handlers that panic, and at most one line a minute about
	// inbound connections that were refused. Nil: errors alone are logged, such as the
	// panics, to [slog.Default]; a [slog.DiscardHandler] gets none.
	Logger *slog.Logger

	// MaxMessage is the largest request or response in bytes, in either
	// direction, before compression and after it. Default 16 MiB, at most 1 GiB.
	MaxMessage int
	// MaxCalls bounds the calls that this node has in progress towards one peer
	// and those that a peer has towards it; of the two nodes' values the lower
	// holds. A call beyond it fails with [ErrOverloaded] and [OutcomeNotSent].
	// Default 262 144.
	MaxCalls int
	// MaxHandlers bounds the handlers that run at once for one peer, counted
	// until the handler returned and its result is queued, of one over 32 KiB
	// until the last part of it is on its way. A request over it
	// is refused with [ErrOverloaded]; it is never queued, since handlers that
	// call each other would deadlock. Default 1 000.
	MaxHandlers int
	// MaxHandlersTotal bounds the handlers that run at once for all peers
	// together, counted until they have returned: a result that its peer does not
	// read takes no place from others. Default 10 000.
	MaxHandlersTotal int
	// MaxOutput is the number of bytes queued for one peer above which callers
	// wait, each with its own context. They go on in the order in which they came, but
	// messages of up to 4 KiB, and those of [PriorityHigh], do not wait for all larger
	// ones that came before. Messages over 32 KiB do not count: they
	// are sent in parts from the memory that they are in. A peer that does not
	// read can so hold up to MaxHandlers results. Default 8 MiB.
	MaxOutput int
	// MaxReassembly bounds the bytes of large messages that one peer may have
	// under way towards this node, reserved by their announced size: those of
	// requests over 32 KiB and of initial payloads until the handler has
	// returned, those of responses over 32 KiB until they are whole, and those
	// of messages of streams over StreamWindow until they are taken, those for
	// handlers apart from those for callers. Each of the four has as much. What is
	// over it waits, oldest first, so messages of streams that nobody takes can hold
	// up others of that kind; a request
	// that waits is refused with [ErrOverloaded] when nothing was given back,
	// and nothing arrived of what holds it, for 5 s. Default 64 MiB, at least
	// MaxMessage.
	// Compressed messages count with what they become, and a request that comes in
	// parts, however small, with its metadata, the buffer for up to 32 KiB of it
	// and 1 KiB at least.
	// As many bytes may the large buffers have that handlers running for the peer
	// are given for their results, see [Manager.HandleAppend].
	MaxReassembly int
	// StreamWindow is how many bytes of one stream may be under way towards
	// this node at first, sent and not taken yet by the user. It grows up to
	// 1 MiB, or stays at StreamWindow if that is more, while the user is quick.
	// A message over StreamWindow needs room in MaxReassembly, and takes all of the
	// first window. Compressed messages that are not over it, once restored, count
	// with the bytes that they are sent as. Default 64 KiB.
	StreamWindow int
	// MaxStreamBuffers bounds the bytes of the windows of all streams with one peer
	// together, and those with the local node, of which both ends are here, at twice as
	// much. A stream for which there is no room fails with [ErrOverloaded]. Default
	// 64 MiB, at least StreamWindow.
	MaxStreamBuffers int

	// ConnectTimeout bounds one attempt to connect, from dialling to the end of
	// the handshake, and the handshake of an inbound connection. Default 5 s.
	ConnectTimeout time.Duration
	// MaxBackoff caps the pause between attempts to connect, which doubles from
	// 100 ms; the actual pause is a random part of it. Default 3 s.
	MaxBackoff time.Duration
	// KeepAlive is how often a connection looks whether anything was received
	// since it looked last; if not, the peer is pinged. Default 5 s.
	KeepAlive time.Duration
	// KeepAliveTimeout is the time that a pinged peer has to send anything
	// before the connection is given up. A silent peer is noticed after at most
	// 2*KeepAlive + KeepAliveTimeout, later only as long as the link still takes
	// what was queued before the ping. A link that is so slow that it does not
	// take about 400 KiB in this time can be given up under large messages.
	// Default 5 s.
	KeepAliveTimeout time.Duration
}

const (
	defaultMaxMessage       = 16 << 20
	limitMaxMessage         = 1 << 30
	defaultMaxCalls         = 1 << 18
	limitMaxCalls           = 1 << 24
	defaultMaxHandlers      = 1000
	defaultMaxHandlersTotal = 10_000
	defaultMaxOutput        = 8 << 20
	defaultMaxReassembly    = 64 << 20
	defaultStreamWindow     = wire.DefaultWindow
	defaultMaxStreamBuffers = 64 << 20
	defaultConnectTimeout   = 5 * time.Second
	defaultMaxBackoff       = 3 * time.Second
	defaultKeepAlive        = 5 * time.Second
	maxHandlerID            = 255
)

// fieldError names the field and the remedy.
func fieldError(field, problem, remedy string) error {
	return fmt.Errorf("%s %s: %s", field, problem, remedy)
}

func configError(field, problem, remedy string) error {
	return fmt.Errorf("gridmux: NewManager: Config.%w", fieldError(field, problem, remedy))
}

// normalize fills in names and defaults and leaves the local node out of the
// peers. It returns what is wrong with the configuration.
func (cfg *Config) normalize() error {
	if cfg.Transport == nil {
		return configError("Transport", "is nil", "set it to websocket.New(...) or to a node of inmem.NewNetwork()")
	}
	if all := transportsOf(cfg.Transport); len(all) == 0 || slices.Contains(all, nil) {
		return configError("Transport", fmt.Sprintf("offers %d transports, or a nil one", len(all)),
			"a MultiTransport has one at least, and none is nil")
	}
	if cfg.Local.Addr == "" && cfg.Listen == "" {
		return configError("Local.Addr", "is empty", "set it to the address that the other nodes dial, or set Listen")
	}
	if cfg.Local.Name == "" {
		cfg.Local.Name = cfg.Local.Addr
	}
	if cfg.Local.Name == "" {
		return configError("Local.Name", "is empty and there is no Local.Addr to stand in for it", "name the node")
	}
	if cfg.Listen == "" {
		cfg.Listen = cfg.Local.Addr
	}
	if err := errors.Join(checkName("Local.Name", cfg.Local.Name), checkName("Cluster", cfg.Cluster)); err != nil {
		return fmt.Errorf("gridmux: NewManager: Config.%w", err)
	}
	if i := slices.IndexFunc(cfg.Intercept, func(i Interceptor) bool { return i == nil }); i >= 0 {
		return configError("Intercept", fmt.Sprintf("has nil at index %d", i), "leave it out")
	}
	cfg.Intercept = slices.Clone(cfg.Intercept)
	if err := checkAuth(cfg.Auth); err != nil {
		return configError("Auth", "cannot be used", err.Error())
	}
	peers, err := remotePeers(&cfg.Local, cfg.Peers, "Peers")
	if err != nil {
		return fmt.Errorf("gridmux: NewManager: Config.%w", err)
	}
	cfg.Peers = peers
	return errors.Join(
		limit("MaxMessage", &cfg.MaxMessage, defaultMaxMessage, limitMaxMessage),
		limit("MaxCalls", &cfg.MaxCalls, defaultMaxCalls, limitMaxCalls),
		limit("MaxHandlers", &cfg.MaxHandlers, defaultMaxHandlers, limitMaxCalls),
		limit("MaxHandlersTotal", &cfg.MaxHandlersTotal, defaultMaxHandlersTotal, limitMaxCalls),
		limit("MaxOutput", &cfg.MaxOutput, defaultMaxOutput, limitMaxMessage),
		limit("MaxReassembly", &cfg.MaxReassembly, max(defaultMaxReassembly, cfg.MaxMessage), limitMaxMessage),
		limit("StreamWindow", &cfg.StreamWindow, defaultStreamWindow, wire.MaxWindow),
		limit("MaxStreamBuffers", &cfg.MaxStreamBuffers, max(defaultMaxStreamBuffers, cfg.StreamWindow), limitMaxMessage),
		limit("ConnectTimeout", &cfg.ConnectTimeout, defaultConnectTimeout, time.Hour),
		limit("MaxBackoff", &cfg.MaxBackoff, defaultMaxBackoff, time.Hour),
		limit("KeepAlive", &cfg.KeepAlive, defaultKeepAlive, 24*time.Hour),
		limit("KeepAliveTimeout", &cfg.KeepAliveTimeout, defaultKeepAlive, 24*time.Hour),
		cfg.checkMemory(),
	)
}

func (cfg *Config) checkMemory() error {
	if cfg.MaxStreamBuffers < cfg.StreamWindow {
		return configError("MaxStreamBuffers", fmt.Sprintf("is %d, less than StreamWindow (%d)", cfg.MaxStreamBuffers, cfg.StreamWindow),
			"raise it, or no stream could be opened")
	}
	if cfg.MaxReassembly < cfg.MaxMessage {
		return configError("MaxReassembly", fmt.Sprintf("is %d, less than MaxMessage (%d)", cfg.MaxReassembly, cfg.MaxMessage),
			"raise it, or no message of the permitted size could arrive")
	}
	return nil
}

func checkName(field, name string) error {
	if len(name) > wire.MaxName {
		return fieldError(field, fmt.Sprintf("has %d bytes", len(name)), fmt.Sprintf("use at most %d", wire.MaxName))
	}
	if !utf8.ValidString(name) {
		return fieldError(field, fmt.Sprintf("%q is not UTF-8", name), "use text")
	}
	return nil
}

// remotePeers checks a list of nodes, which errors call field, and returns it
// without the local one.
func remotePeers(local *Node, peers []Node, field string) ([]Node, error) {
	names, addrs := map[string]int{}, map[string]int{}
	var out []Node
	for i, n := range peers {
		at := fmt.Sprintf("%s[%d]", field, i)
		if n.Name == "" {
			n.Name = n.Addr
		}
		if n.Name == "" {
			return nil, fieldError(at, "has neither Name nor Addr", "set both, or remove it")
		}
		if err := checkName(at+".Name", n.Name); err != nil {
			return nil, err
		}
		if n.Name == local.Name {
			continue
		}
		if n.Addr == "" {
			return nil, fieldError(at+".Addr", fmt.Sprintf("is empty for node %q", n.Name), "set the address that it is dialled at")
		}
		if j, ok := names[n.Name]; ok {
			return nil, fieldError(at+".Name", fmt.Sprintf("%q is already the name of %s[%d]", n.Name, field, j),
				"names identify nodes: make them unique")
		}
		if j, ok := addrs[n.Addr]; ok || n.Addr == local.Addr {
			owner := "Local"
			if ok {
				owner = fmt.Sprintf("%s[%d]", field, j)
			}
			return nil, fieldError(at+".Addr", fmt.Sprintf("%q is already the address of %s", n.Addr, owner), "give every node its own")
		}
		names[n.Name], addrs[n.Addr] = i, i
		out = append(out, n)
	}
	return out, nil
}

// limit replaces a zero by its default and refuses what is out of range.
func limit[T int | time.Duration](field string, v *T, def, maximum T) error {
	switch {
	case *v == 0:
		*v = def
	case *v < 0 || *v > maximum:
		return configError(field, fmt.Sprintf("is %v", *v), fmt.Sprintf("use 0 for the default of %v, or up to %v", def, maximum))
	}
	return nil
}
