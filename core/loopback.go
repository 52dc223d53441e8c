package core

import (
	"net"
	"sync"

	"github.com/gridmux/gridmux/transport"
)

// loopback connects the local node with itself, on the first call to it: two
// ordinary sessions over a pipe, so that calls to the local node behave like
// all others.
func (m *Manager) loopback() *session {
	c := m.local
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.current.Load(); s != nil || c.state != StateConnected {
		return s
	}
	near, far := newPipe()
	a := agreement{identity: Identity{Name: m.cfg.Local.Name, Method: "loopback"}}
	a.remote, a.told = m.hello(near, m.cfg.Local.Name)
	calling := newSession(m, c, near, a)
	a.side = 1
	serving := newSession(m, c, far, a)
	if !m.addSession(calling) {
		return nil
	}
	if !m.addSession(serving) {
		m.removeSession(calling)
		return nil
	}
	c.current.Store(calling)
	calling.start()
	serving.start()
	if m.draining.Load() {
		serving.link.drain()
	}
	return calling
}

// pipe is one end of a connection inside the process.
type pipe struct {
	in, out chan *buffer
	last    *buffer // what ReadFrame lent
	link    *pipeLink
}

type pipeLink struct {
	once   sync.Once
	closed chan struct{}
}

// pipeDepth is how many transport frames a pipe holds.
const pipeDepth = 4

func newPipe() (a, b *pipe) {
	x, y := make(chan *buffer, pipeDepth), make(chan *buffer, pipeDepth)
	link := &pipeLink{closed: make(chan struct{})}
	return &pipe{in: x, out: y, link: link}, &pipe{in: y, out: x, link: link}
}

func (p *pipe) ReadFrame(limit int) ([]byte, error) {
	if p.last != nil {
		p.last.put()
		p.last = nil
	}
	select {
	case p.last = <-p.in:
	case <-p.link.closed:
		return nil, net.ErrClosed
	}
	if len(p.last.b) > limit {
		return nil, transport.FrameTooLargeError(uint64(len(p.last.b)), limit)
	}
	return p.last.b, nil
}

func (p *pipe) WriteFrames(frames [][]byte) error {
	for _, f := range frames {
		b := getBuffer(len(f))
		b.b = append(b.b, f...)
		select {
		case p.out <- b:
		case <-p.link.closed:
			return net.ErrClosed
		}
	}
	return nil
}

func (p *pipe) CloseWithError(uint32, string) error {
	p.link.once.Do(func() { close(p.link.closed) })
	return nil
}

func (p *pipe) Info() transport.Info {
	return transport.Info{
		Transport: "loopback", LocalAddr: pipeAddr{}, RemoteAddr: pipeAddr{},
		MaxFrame: ownMaxFrame, Integrity: true, Local: true,
	}
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "loopback" }
func (pipeAddr) String() string  { return "loopback" }

var _ transport.Conn = (*pipe)(nil)
