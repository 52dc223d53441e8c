package peers

import (
	"io"
	"net"
	"sync"

	"github.com/hashicorp/yamux"
	"github.com/xtaci/smux"

	"github.com/gridmux/gridmux/bench/peers/h"
)

type opener func() (io.ReadWriteCloser, error)

// lpPeer builds a Peer from a stream opener: a persistent stream per worker, or a stream per call.
func lpPeer(open opener, perCall bool, closeFn func()) *h.Peer {
	return &h.Peer{
		NewWorker: func() (h.EchoFn, error) {
			if perCall {
				c := &lpClient{}
				return func(req []byte) (int, error) {
					s, err := open()
					if err != nil {
						return 0, err
					}
					c.s = s
					n, err := c.echo(req)
					s.Close()
					return n, err
				}, nil
			}
			s, err := open()
			if err != nil {
				return nil, err
			}
			return (&lpClient{s: s}).echo, nil
		},
		Stream: func(count, size int) (int, error) {
			s, err := open()
			if err != nil {
				return 0, err
			}
			defer s.Close()
			return lpStream(s, count, size)
		},
		Close: closeFn,
	}
}

func ycfg() *yamux.Config {
	c := yamux.DefaultConfig()
	c.LogOutput = io.Discard
	c.AcceptBacklog = 1024
	return c
}

func yamuxPair(buffered bool) (*yamux.Session, *yamux.Session, error) {
	c, s, err := pair()
	if err != nil {
		return nil, nil, err
	}
	ss, err := yamux.Server(s, ycfg())
	if err != nil {
		return nil, nil, err
	}
	cs, err := yamux.Client(c, ycfg())
	if err != nil {
		return nil, nil, err
	}
	go func() {
		for {
			st, err := ss.AcceptStream()
			if err != nil {
				return
			}
			go func() { serveLP(st, buffered); st.Close() }()
		}
	}()
	return cs, ss, nil
}

func openYamux(perCall, buffered bool) (*h.Peer, error) {
	cs, ss, err := yamuxPair(buffered)
	if err != nil {
		return nil, err
	}
	return lpPeer(func() (io.ReadWriteCloser, error) { return cs.OpenStream() }, perCall, func() { cs.Close(); ss.Close() }), nil
}

func scfg() *smux.Config {
	c := smux.DefaultConfig()
	c.Version = 2
	return c
}

func smuxPair(buffered bool) (*smux.Session, *smux.Session, error) {
	c, s, err := pair()
	if err != nil {
		return nil, nil, err
	}
	ss, err := smux.Server(s, scfg())
	if err != nil {
		return nil, nil, err
	}
	cs, err := smux.Client(c, scfg())
	if err != nil {
		return nil, nil, err
	}
	go func() {
		for {
			st, err := ss.AcceptStream()
			if err != nil {
				return
			}
			go func() { serveLP(st, buffered); st.Close() }()
		}
	}()
	return cs, ss, nil
}

func openSmux(perCall, buffered bool) (*h.Peer, error) {
	cs, ss, err := smuxPair(buffered)
	if err != nil {
		return nil, err
	}
	return lpPeer(func() (io.ReadWriteCloser, error) { return cs.OpenStream() }, perCall, func() { cs.Close(); ss.Close() }), nil
}

// openTCP is the raw loopback connection: one worker only.
func openTCP(conc int, buffered bool) (*h.Peer, error) {
	var mu sync.Mutex
	var all []net.Conn
	open := func() (io.ReadWriteCloser, error) {
		c, s, err := pair()
		if err != nil {
			return nil, err
		}
		go func() { serveLP(s, buffered); s.Close() }()
		mu.Lock()
		all = append(all, c, s)
		mu.Unlock()
		return c, nil
	}
	return lpPeer(open, false, func() {
		for _, c := range all {
			c.Close()
		}
	}), nil
}

func idleOf(mk func() error) func(int) (func(), error) {
	return func(n int) (func(), error) {
		return func() {}, parallelDo(n, func(int) error { return mk() })
	}
}

var (
	keep   []any
	keepMu sync.Mutex
)

func keepAll(v ...any) { keepMu.Lock(); keep = append(keep, v...); keepMu.Unlock() }

func init() {
	h.Register(&h.Factory{
		Name: "yamux", Note: "persistent stream per worker", Open: func(int) (*h.Peer, error) { return openYamux(false, false) },
		Idle: idleOf(func() error { a, b, err := yamuxPair(false); keepAll(a, b); return err }),
	})
	h.Register(&h.Factory{Name: "yamux-call", Note: "stream per call", Open: func(int) (*h.Peer, error) { return openYamux(true, false) }})
	h.Register(&h.Factory{Name: "yamux-buf", Note: "stream messages through a 32 KiB bufio.Writer", Open: func(int) (*h.Peer, error) { return openYamux(false, true) }})
	h.Register(&h.Factory{
		Name: "smux", Note: "v2, persistent stream per worker", Open: func(int) (*h.Peer, error) { return openSmux(false, false) },
		Idle: idleOf(func() error { a, b, err := smuxPair(false); keepAll(a, b); return err }),
	})
	h.Register(&h.Factory{Name: "smux-call", Note: "v2, stream per call", Open: func(int) (*h.Peer, error) { return openSmux(true, false) }})
	h.Register(&h.Factory{Name: "smux-buf", Note: "v2, bufio", Open: func(int) (*h.Peer, error) { return openSmux(false, true) }})
	h.Register(&h.Factory{
		Name: "floor-tcp", Note: "raw TCP ping-pong, a CONNECTION per worker", Open: func(c int) (*h.Peer, error) { return openTCP(c, false) },
		Idle: idleOf(func() error {
			a, b, err := pair()
			if err == nil {
				go serveLP(b, false)
				go io.Copy(io.Discard, a)
			}
			keepAll(a, b)
			return err
		}),
	})
	h.Register(&h.Factory{Name: "floor-tcp-buf", Note: "raw TCP, bufio stream", Open: func(c int) (*h.Peer, error) { return openTCP(c, true) }})
}
