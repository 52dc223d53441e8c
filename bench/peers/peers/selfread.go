package peers

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"

	"github.com/gridmux/gridmux/bench/peers/h"
)

// selfread: the caller reads the connection itself while nobody else does (no wake-up at concurrency 1);
// the role is handed to a waiter when its own reply has come.
type sslot struct {
	done    chan int
	out     []byte
	waiting bool
}
type selfClient struct {
	w       *cwriter
	mu      sync.Mutex
	reading bool
	slots   []*sslot
	stack   []uint32
	br      *bufio.Reader
}

func (m *selfClient) readLoop(own uint32) (int, error) {
	var hd [8]byte
	for {
		if _, err := io.ReadFull(m.br, hd[:]); err != nil {
			return 0, err
		}
		n := int(binary.LittleEndian.Uint32(hd[:]))
		id := binary.LittleEndian.Uint32(hd[4:])
		m.mu.Lock()
		s := m.slots[id]
		m.mu.Unlock()
		s.out = grow(s.out, n)
		if _, err := io.ReadFull(m.br, s.out); err != nil {
			return 0, err
		}
		m.mu.Lock()
		if id != own {
			s.waiting = false
			m.mu.Unlock()
			s.done <- n
			continue
		}
		for len(m.stack) > 0 {
			k := m.stack[len(m.stack)-1]
			m.stack = m.stack[:len(m.stack)-1]
			if ns := m.slots[k]; ns.waiting {
				ns.waiting = false
				m.mu.Unlock()
				ns.done <- -1
				return n, nil
			}
		}
		m.reading = false
		m.mu.Unlock()
		return n, nil
	}
}

func openSelf(cfg idealCfg) (*h.Peer, error) {
	c, s, err := pair()
	if err != nil {
		return nil, err
	}
	go idealServe(s, cfg)
	var cl net.Conn = c
	m := &selfClient{br: bufio.NewReaderSize(cl, 64<<10)}
	busy := &idealClient{}
	m.w = newCW(c, true, &busy.busy)
	return &h.Peer{
		NewWorker: func() (h.EchoFn, error) {
			m.mu.Lock()
			sl := &sslot{done: make(chan int, 1)}
			m.slots = append(m.slots, sl)
			id := uint32(len(m.slots) - 1)
			m.mu.Unlock()
			return func(req []byte) (n int, err error) {
				busy.busy.Add(1)
				defer busy.busy.Add(-1)
				m.mu.Lock()
				lead := !m.reading
				if lead {
					m.reading = true
				} else {
					sl.waiting = true
					m.stack = append(m.stack, id)
				}
				m.mu.Unlock()
				m.w.send(id, req)
				if !lead {
					if n = <-sl.done; n >= 0 {
						return n, nil
					}
				}
				return m.readLoop(id)
			}, nil
		},
		Close: func() { c.Close(); s.Close() },
	}, nil
}

func init() {
	h.Register(&h.Factory{Name: "ideal-selfread", Note: "caller reads its own reply when nobody reads; handler inline", Open: func(int) (*h.Peer, error) { return openSelf(idealCfg{lead: true, batch: true}) }})
	h.Register(&h.Factory{Name: "ideal-selfread-go", Note: "the same, goroutine per request on the server", Open: func(int) (*h.Peer, error) { return openSelf(idealCfg{lead: true, gor: true}) }})
}
