package peers

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/gridmux/gridmux/bench/peers/h"
)

// The ideal mux: u32 length | u32 id | payload. No flow control, no checks, no deadlines, no contexts.

// cwriter coalesces frames. lead=true: the first sender writes for everybody (no hand-off);
// lead=false: one writer goroutine.
type cwriter struct {
	c       net.Conn
	lead    bool
	mu      sync.Mutex
	buf     []byte
	spare   []byte
	writing bool
	wake    chan struct{}
	cond    *sync.Cond    // back-pressure: senders wait while more than wlimit is unsent
	busy    *atomic.Int64 // requests in flight: yield before writing when there are others
}

func newCW(c net.Conn, lead bool, busy *atomic.Int64) *cwriter {
	w := &cwriter{c: c, lead: lead, wake: make(chan struct{}, 1), busy: busy}
	w.cond = sync.NewCond(&w.mu)
	if !lead {
		go func() {
			for range w.wake {
				if w.busy == nil || w.busy.Load() > 1 {
					runtime.Gosched()
				}
				w.mu.Lock()
				w.drain()
				w.mu.Unlock()
			}
		}()
	}
	return w
}

func (w *cwriter) drain() { // holds mu
	for len(w.buf) > 0 {
		b := w.buf
		w.buf = w.spare[:0]
		w.cond.Broadcast()
		w.mu.Unlock()
		w.c.Write(b)
		w.mu.Lock()
		w.spare = b
	}
}

func (w *cwriter) put(id uint32, p []byte) {
	var hd [8]byte
	binary.LittleEndian.PutUint32(hd[:], uint32(len(p)))
	binary.LittleEndian.PutUint32(hd[4:], id)
	w.buf = append(append(w.buf, hd[:]...), p...)
}

const wlimit = 1 << 20

func (w *cwriter) send(id uint32, p []byte) {
	w.mu.Lock()
	for len(w.buf) > wlimit {
		w.cond.Wait()
	}
	w.put(id, p)
	w.flush()
}

// flush starts or becomes the writer; holds mu on entry, not on return.
func (w *cwriter) flush() {
	if w.lead {
		if !w.writing {
			w.writing = true
			if w.busy == nil || w.busy.Load() > 1 {
				w.mu.Unlock()
				runtime.Gosched()
				w.mu.Lock()
			}
			w.drain()
			w.writing = false
		}
		w.mu.Unlock()
		return
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

type idealCfg struct {
	lead  bool // who writes
	gor   bool // goroutine per request on the server
	batch bool // inline server: flush only when the reader has nothing more buffered
	wpool int  // persistent server workers instead of goroutine per request
}

func idealServe(c net.Conn, cfg idealCfg) {
	br := bufio.NewReaderSize(c, 64<<10)
	var inflight atomic.Int64
	w := newCW(c, cfg.lead || !cfg.gor, &inflight)
	var hd [8]byte
	var buf []byte
	type job struct {
		id uint32
		b  *[]byte
	}
	run := func(j job) {
		w.send(j.id, *j.b)
		inflight.Add(-1)
		bufs.Put(j.b)
	}
	var jobs chan job
	if cfg.wpool > 0 {
		jobs = make(chan job, 1024)
		for i := 0; i < cfg.wpool; i++ {
			go func() {
				for j := range jobs {
					run(j)
				}
			}()
		}
	}
	for {
		if _, err := io.ReadFull(br, hd[:]); err != nil {
			return
		}
		n := int(binary.LittleEndian.Uint32(hd[:]))
		id := binary.LittleEndian.Uint32(hd[4:])
		if n == 1<<31 { // message stream
			var r [8]byte
			io.ReadFull(br, r[:])
			count, size := getReq(r[:])
			go func() {
				p := make([]byte, size)
				for i := 0; i < count; i++ {
					w.send(id, p)
				}
			}()
			continue
		}
		if cfg.gor {
			bp := bufs.Get().(*[]byte)
			*bp = grow(*bp, n)
			if _, err := io.ReadFull(br, *bp); err != nil {
				return
			}
			inflight.Add(1)
			if jobs != nil {
				jobs <- job{id, bp}
			} else {
				go run(job{id, bp})
			}
			continue
		}
		buf = grow(buf, n)
		if _, err := io.ReadFull(br, buf); err != nil {
			return
		}
		w.mu.Lock()
		w.put(id, buf)
		if !cfg.batch || br.Buffered() == 0 || len(w.buf) > 64<<10 {
			w.drain()
		}
		w.mu.Unlock()
	}
}

type slot struct {
	out  []byte
	done chan int
}

type idealClient struct {
	w     *cwriter
	mu    sync.Mutex
	slots []*slot // map of pending, indexed by id
	busy  atomic.Int64
	strm  sync.Map
}

func (m *idealClient) read(c net.Conn) {
	br := bufio.NewReaderSize(c, 64<<10)
	var hd [8]byte
	for {
		if _, err := io.ReadFull(br, hd[:]); err != nil {
			return
		}
		n := int(binary.LittleEndian.Uint32(hd[:]))
		id := binary.LittleEndian.Uint32(hd[4:])
		m.mu.Lock()
		s := m.slots[id]
		m.mu.Unlock()
		s.out = grow(s.out, n)
		if _, err := io.ReadFull(br, s.out); err != nil {
			return
		}
		s.done <- n
	}
}

func openIdeal(cfg idealCfg) (*h.Peer, error) {
	c, s, err := pair()
	if err != nil {
		return nil, err
	}
	go idealServe(s, cfg)
	m := &idealClient{}
	m.w = newCW(c, cfg.lead, &m.busy)
	go m.read(c)
	newSlot := func(n int) (uint32, *slot) {
		m.mu.Lock()
		defer m.mu.Unlock()
		sl := &slot{done: make(chan int, n)}
		m.slots = append(m.slots, sl)
		return uint32(len(m.slots) - 1), sl
	}
	return &h.Peer{
		NewWorker: func() (h.EchoFn, error) {
			id, sl := newSlot(1)
			return func(req []byte) (int, error) {
				m.busy.Add(1)
				m.w.send(id, req)
				n := <-sl.done
				m.busy.Add(-1)
				return n, nil
			}, nil
		},
		Stream: func(count, size int) (int, error) {
			id, sl := newSlot(1024)
			m.w.mu.Lock()
			var hd [8]byte
			binary.LittleEndian.PutUint32(hd[:], 1<<31)
			binary.LittleEndian.PutUint32(hd[4:], id)
			m.w.buf = append(append(m.w.buf, hd[:]...), putReq(count, size)...)
			m.w.flush()
			for i := 0; i < count; i++ {
				if n := <-sl.done; n != size {
					return i, fmt.Errorf("size %d", n)
				}
			}
			return count, nil
		},
		Close: func() { c.Close(); s.Close() },
	}, nil
}

func regIdeal(name, note string, cfg idealCfg) {
	h.Register(&h.Factory{Name: name, Note: note, Open: func(int) (*h.Peer, error) { return openIdeal(cfg) }})
}

func init() {
	regIdeal("ideal-inline", "first sender writes for all; handler inline in the server's reader, flush when drained", idealCfg{lead: true, batch: true})
	regIdeal("ideal-wg", "client writer goroutine; handler inline, flush when drained", idealCfg{batch: true})
	regIdeal("ideal-go", "writer goroutines both sides; goroutine per request", idealCfg{gor: true})
	regIdeal("ideal-go-lead", "first sender writes for all, both sides; goroutine per request", idealCfg{gor: true, lead: true})
	regIdeal("ideal-pool-lead", "as ideal-go-lead with 8 persistent server workers", idealCfg{gor: true, lead: true, wpool: 8})
}
