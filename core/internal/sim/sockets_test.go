package sim_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/websocket"
)

// sockets is a network of simulated sockets, over which nodes talk by websocket.
type sockets struct {
	routes
	tls    bool
	buffer int

	// Guarded by routes.mu.
	listeners map[string]*doorway // by address
	ends      []*socket           // all ever made: the news that one is closed may be held
	dials     int
}

func newSockets(tls bool) func(p *profile) network {
	return func(p *profile) network {
		return &sockets{
			routes: newRoutes(p), tls: tls, buffer: p.buffer,
			listeners: map[string]*doorway{},
		}
	}
}

func (s *sockets) node(where, name, addr string) (transport.Transport, error) {
	s.own(addr, where)
	opts := websocket.Options{
		DialContext: func(ctx context.Context, _, to string) (net.Conn, error) { return s.dial(ctx, where, to) },
		Listen:      func(_ context.Context, _, at string) (net.Listener, error) { return s.listen(where, at) },
	}
	if s.tls {
		opts.TLS = devtls.Config(name)
	}
	return websocket.New(opts), nil
}

func (*sockets) close() {}

var (
	errRefused = errors.New("connection refused")
	errInUse   = errors.New("address already in use")
)

func (s *sockets) listen(where, addr string) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listeners[addr] != nil {
		return nil, fmt.Errorf("listen %s: %w", addr, errInUse)
	}
	var opts []memnet.Option
	if s.buffer > 0 {
		opts = append(opts, memnet.WithBuffer(s.buffer))
	}
	d := &doorway{Listener: memnet.Listen(addr, opts...), net: s, where: where, addr: addr, closed: make(chan struct{})}
	s.listeners[addr] = d
	return d, nil
}

// dial takes a round trip, and as long as a partition lasts.
func (s *sockets) dial(ctx context.Context, where, addr string) (net.Conn, error) {
	s.mu.Lock()
	to := s.owners[addr]
	trip := time.NewTimer(s.delayOf(&s.route(where, to).conditions) + s.delayOf(&s.route(to, where).conditions))
	s.mu.Unlock()
	defer trip.Stop()
	select {
	case <-trip.C:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	for {
		s.mu.Lock()
		to = s.owners[addr] // which may have begun meanwhile
		there, back := s.route(where, to), s.route(to, where)
		blocked, refused, changed := there.blocked || back.blocked, there.refused, s.changed
		door := s.listeners[addr]
		s.dials++
		from := memnet.Addr(fmt.Sprintf("%s#%d", where, s.dials))
		s.mu.Unlock()
		switch {
		case blocked:
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		case refused || door == nil:
			return nil, fmt.Errorf("dial %s: %w", addr, errRefused)
		}
		c, err := door.DialFrom(ctx, from)
		if err != nil {
			return nil, err
		}
		return s.add(c, where, to), nil
	}
}

// add enters one end of a connection: that of from, which sends to the other place.
func (s *sockets) add(c net.Conn, from, to string) *socket {
	end := &socket{Conn: c.(*memnet.Conn), net: s, from: from, to: to}
	end.SetDelay(end.delay)
	s.mu.Lock()
	s.ends = append(s.ends, end)
	blocked := s.route(from, to).blocked
	s.mu.Unlock()
	if blocked {
		end.Hold(true)
	}
	return end
}

// sending returns the ends that send from one place to another.
func (s *sockets) sending(from, to string) (ends []*socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.ends {
		if e.from == from && e.to == to {
			ends = append(ends, e)
		}
	}
	return ends
}

func (s *sockets) Cut(a, b string) {
	for _, p := range []path{{a, b}, {b, a}} {
		for _, e := range s.sending(p.from, p.to) {
			e.Reset()
		}
	}
}

func (s *sockets) Partition(a, b string) {
	s.PartitionOneWay(a, b)
	s.PartitionOneWay(b, a)
}

func (s *sockets) PartitionOneWay(from, to string) {
	s.block(from, to)
	s.Stall(from, to)
}

func (s *sockets) Stall(from, to string) {
	for _, e := range s.sending(from, to) {
		e.Hold(true)
	}
}

func (s *sockets) Heal(a, b string) {
	for _, p := range []path{{a, b}, {b, a}} {
		s.unblock(p.from, p.to)
		for _, e := range s.sending(p.from, p.to) {
			e.Hold(false)
		}
	}
}

func (s *sockets) HealAll() {
	for _, p := range s.all() {
		s.Heal(p.from, p.to)
	}
}

// Crash closes what a process had, as its kernel does.
func (s *sockets) Crash(where string) {
	s.mu.Lock()
	var ends []*socket
	var doors []*doorway
	for _, e := range s.ends {
		if e.from == where {
			ends = append(ends, e)
		}
	}
	for _, d := range s.listeners {
		if d.where == where {
			doors = append(doors, d)
		}
	}
	s.mu.Unlock()
	for _, d := range doors {
		d.Close()
	}
	for _, e := range ends {
		e.Close()
	}
}

// doorway is a listener.
type doorway struct {
	*memnet.Listener
	net         *sockets
	where, addr string
	closed      chan struct{} // closed by the first Close
}

func (d *doorway) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	from, _, _ := strings.Cut(c.RemoteAddr().String(), "#")
	end := d.net.add(c, d.where, from)
	if slow := d.net.acceptDelay(d.where); slow > 0 {
		timer := time.NewTimer(slow)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-d.closed:
		}
	}
	return end, nil
}

func (d *doorway) Close() error {
	d.net.mu.Lock()
	if d.net.listeners[d.addr] == d {
		delete(d.net.listeners, d.addr)
		close(d.closed)
	}
	d.net.mu.Unlock()
	return d.Listener.Close()
}

// socket is one end of a connection.
type socket struct {
	*memnet.Conn
	net      *sockets
	from, to string
	busy     time.Time // until when the line is; guarded by a lock of Conn, as delay is called with it
}

// delay is how long bytes take that set out now.
func (e *socket) delay(bytes int) time.Duration {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	c := e.net.route(e.from, e.to).conditions
	now := time.Now()
	if e.busy.Before(now) {
		e.busy = now
	}
	if c.Bandwidth > 0 {
		e.busy = e.busy.Add(time.Second * time.Duration(bytes) / time.Duration(c.Bandwidth))
	}
	d := e.busy.Sub(now) + e.net.delayOf(&c)
	if c.Merge > 0 {
		d += c.Merge - time.Duration(now.Add(d).UnixNano())%c.Merge
	}
	return d
}

// Write sends p, in pieces where something happens in the middle.
func (e *socket) Write(p []byte) (done int, err error) {
	for done < len(p) {
		piece, then := e.next(p[done:])
		n, err := e.Conn.Write(piece)
		if done += n; err != nil {
			return done, err
		}
		for _, f := range then {
			f()
		}
	}
	return done, nil
}

// next returns what is to be sent next, a copy if it is not what is in p, and what
// happens then.
func (e *socket) next(p []byte) (piece []byte, then []func()) {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	r := e.net.route(e.from, e.to)
	if r.conditions.Split && len(p) > 1 {
		p = p[:1+e.net.rand.IntN(len(p))]
	}
	for _, at := range []int{r.cut, r.stall, r.corrupt} {
		if at > 0 {
			p = p[:min(len(p), at)]
		}
	}
	flip := r.conditions.Corrupt > 0 && e.net.rand.Float64() < r.conditions.Corrupt
	if r.corrupt > 0 {
		r.corrupt -= len(p)
		flip = flip || r.corrupt == 0
	}
	if flip {
		// crypto/tls says so to the other side, with a lock that a write may hold
		// which waits for us. Waiting for a lock stops the clock of a bubble.
		then = append(then, e.TakeAll)
		p = append([]byte(nil), p...)
		p[len(p)-1] ^= 1 << e.net.rand.IntN(8)
	}
	if r.cut > 0 {
		if r.cut -= len(p); r.cut == 0 {
			then = append(then, e.Reset)
		}
	}
	if r.stall > 0 {
		if r.stall -= len(p); r.stall == 0 {
			then = append(then, func() { e.Hold(true) })
		}
	}
	return p, then
}

// Read returns less than there is where what arrives is split.
func (e *socket) Read(p []byte) (int, error) {
	e.net.mu.Lock()
	if len(p) > 1 && e.net.route(e.to, e.from).conditions.Split {
		p = p[:1+e.net.rand.IntN(len(p))]
	}
	e.net.mu.Unlock()
	return e.Conn.Read(p)
}
