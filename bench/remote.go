package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/quic"
	"github.com/gridmux/gridmux/transport/websocket"
)

// The nodes at the two ends of a real path. Of such names the first dials first, which in
// core depends on their hashes: the other one cannot, and would be waited for.
const (
	here  = "here"
	there = "there"
)

// remote is bench serve on another host.
type remote struct {
	host   string
	port   int
	secret secret
	// at is where the sockets of this end are made.
	at host
	// speed is that of the path, once it was looked at.
	speed pathSpeed
	// connect connects the two in another way, in tests; nil: over sockets.
	connect func(ctx context.Context, k kind, config func(*core.Config)) (*cluster, error)
}

func (r *remote) String() string { return net.JoinHostPort(r.host, strconv.Itoa(r.port)) }

// portOf returns where a transport is reached: websocket and QUIC at the port that was
// named, by TCP and by UDP, and what has TLS over TCP at the next one.
func portOf(k kind, port int) int {
	if k.carrier == overTCP && k.tls {
		return port + 1
	}
	return port
}

// parseRemote reads the value of -connect.
func parseRemote(s string) (*remote, error) {
	host, text, err := net.SplitHostPort(s)
	port, number := strconv.Atoi(text)
	if err != nil || number != nil || host == "" || port < 1 || port >= 1<<16-1 {
		return nil, fmt.Errorf("use a host and the port that bench serve prints, such as 192.0.2.7:%d", servePort)
	}
	return &remote{host: host, port: port, at: thisHost{}}, nil
}

// open connects to the other end. config may change the configuration.
func (r *remote) open(ctx context.Context, k kind, config func(*core.Config)) (*cluster, error) {
	if r.connect != nil {
		return r.connect(ctx, k, config)
	}
	s, err := newEndSite(ctx, r.at, k, here, r.secret)
	if err != nil {
		return nil, err
	}
	c := &cluster{
		members: []core.Node{
			{Name: here, Addr: s.addr()},
			{Name: there, Addr: net.JoinHostPort(r.host, strconv.Itoa(portOf(k, r.port)))},
		},
		sites: map[string]site{here: s}, nodes: map[string]*core.Manager{},
		config: func(cfg *core.Config) {
			config(cfg)
			cfg.Auth, cfg.AllowInsecure = s.auth, false
		},
	}
	err = c.start(ctx, here)
	if err == nil {
		err = r.await(ctx, c)
	}
	if err != nil {
		c.end(ctx)
		return nil, fmt.Errorf("%v over %s: %w", r, k.name, err)
	}
	return c, nil
}

// lookEach is how often it is looked whether to go on waiting makes sense.
const lookEach = 20 * time.Millisecond

// await waits for the other end, as long as it may still come: nobody should wait for a key to become right.
func (r *remote) await(ctx context.Context, c *cluster) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, lookEach)
		err := c.waitConnected(attempt)
		cancel()
		if err == nil {
			return nil
		}
		for _, p := range c.nodes[here].Stats().Peers {
			if p.Down == nil {
				continue
			}
			if why := r.hopeless(p.Down); why != nil {
				return why
			}
			if ctx.Err() != nil && strings.Contains(p.Down.Error(), saysDuplicate) {
				return errors.New("another bench -connect is connected to it: one at a time, so wait until that has ended")
			}
		}
		if ctx.Err() != nil {
			return err
		}
	}
}

// What core says of a node that is refused.
const (
	saysStranger  = "it tells strangers no reason"
	saysDuplicate = "another process has the same name"
	saysAuthority = "x509: certificate signed by unknown authority" // which follows from the key
)

// hopeless is what to do about what will not get better by itself, or nil.
func (r *remote) hopeless(down error) error {
	text := down.Error()
	if strings.Contains(text, saysStranger) || strings.Contains(text, saysAuthority) {
		return errors.New("the other end has another key: use the one that bench serve prints there, or was given")
	}
	if unknown, ok := errors.AsType[*net.DNSError](down); ok && unknown.IsNotFound {
		return fmt.Errorf("there is no host %s: name the one that bench serve runs on", r.host)
	}
	return nil
}

// endSite is where an end of a real path runs. Its socket is not for the other end:
// on this side nothing is listened for, and that one dials nobody.
type endSite struct {
	node   string
	tls    bool
	secret secret
	auth   core.Authenticator
	dials  bool
	host   host
	ln     net.Listener   // over TCP
	pc     net.PacketConn // over UDP
}

// newEndSite makes the site of the end that dials.
func newEndSite(ctx context.Context, at host, k kind, node string, s secret) (*endSite, error) {
	// Nobody is to reach it over TCP, where what dials has sockets of its own.
	address := netip.AddrPortFrom(at.Addr(), 0).String()
	if k.carrier == overUDP {
		address = ":0" // dials from it, whichever way the other end is
	}
	e := &endSite{node: node, tls: k.tls, secret: s, dials: true, host: at}
	err := e.listen(ctx, k, address)
	return e, err
}

// listen opens its socket.
func (e *endSite) listen(ctx context.Context, k kind, address string) (err error) {
	if e.auth, err = e.secret.auth(); err != nil {
		return err
	}
	switch k.carrier {
	case overTCP:
		e.ln, err = e.host.Listen(ctx, "tcp", address)
	case overUDP:
		e.pc, err = e.host.ListenPacket(ctx, "udp", address)
	default:
		err = fmt.Errorf("%s is over no network", k.name)
	}
	return err
}

func (e *endSite) addr() string {
	if e.ln != nil {
		return e.ln.Addr().String()
	}
	return e.pc.LocalAddr().String()
}

// errNotDialled is why this end waits for the other one.
var errNotDialled = errors.New("bench serve waits to be called")

func (e *endSite) boot() (transport.Transport, error) {
	config, err := e.secret.tls(e.node)
	if err != nil {
		return nil, err
	}
	if e.pc != nil {
		o := quic.Options{TLS: config, PacketConn: e.pc}
		if !e.dials {
			o.Resolve = func(context.Context, string) ([]netip.AddrPort, error) { return nil, errNotDialled }
		}
		return quic.New(o), nil
	}
	o := websocket.Options{Listener: e.ln, DialContext: e.host.Dial}
	if e.tls {
		o.TLS = config
	}
	if !e.dials {
		o.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, errNotDialled }
	}
	return websocket.New(o), nil
}

func (e *endSite) kill() {
	if e.ln != nil {
		e.ln.Close()
	}
	if e.pc != nil {
		e.pc.Close()
	}
}
