package core

import (
	"sync"
	"time"
)

// pool runs inbound calls on warm workers. Its number grows with the handlers
// that block, bounded by the limits on handlers, because a fixed number would
// deadlock as soon as handlers call each other across nodes.
//
// A batch wakes one worker; a worker that takes a call and sees more wakes, or
// starts, one other first. So short handlers run one after the other on one
// goroutine, and long ones each get their own.
type pool struct {
	mu     sync.Mutex
	queue  []*inCall
	head   int
	idle   []*worker // LIFO, so that the warm ones stay in use
	lull   int       // fewest idle workers since the last trim
	waking bool      // a worker was woken and has not looked at the queue yet
	closed bool
	trim   *time.Timer
	gone   sync.WaitGroup // idle workers that were told to end
}

// worker waits on wake while it is idle.
type worker struct {
	wake chan bool // capacity 1; false: end
}

// trimInterval is how often workers that were not needed since the last time
// are ended.
const trimInterval = 5 * time.Second

// submit queues calls and wakes a worker for them.
func (p *pool) submit(calls []*inCall) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		for _, c := range calls {
			c.release()
		}
		return
	}
	p.queue = append(p.queue, calls...)
	p.rouse()
	p.mu.Unlock()
}

// rouse wakes or starts one worker, unless one is on its way already. p.mu is
// held.
func (p *pool) rouse() {
	if p.waking {
		return
	}
	p.waking = true
	n := len(p.idle)
	if n == 0 {
		go p.work(&worker{wake: make(chan bool, 1)})
		return
	}
	w := p.idle[n-1]
	p.idle = p.idle[:n-1]
	p.lull = min(p.lull, n-1)
	w.wake <- true
}

// work is the life of a worker.
func (p *pool) work(w *worker) {
	returned := false
	defer func() {
		if !returned {
			p.replace()
		}
	}()
	p.mu.Lock()
	p.waking = false
	for p.next(w) {
		p.mu.Lock()
	}
	returned = true
}

// replace looks after the queue when a handler took its worker with it by
// runtime.Goexit.
func (p *pool) replace() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.head < len(p.queue) {
		p.rouse()
	}
}

// next runs one call, or waits for one. p.mu is held on entry and released. It
// returns false when the worker is to end.
func (p *pool) next(w *worker) bool {
	if p.head == len(p.queue) {
		return p.park(w)
	}
	c := p.queue[p.head]
	p.queue[p.head] = nil
	p.head++
	if p.head == len(p.queue) {
		p.queue, p.head = p.queue[:0], 0
	} else {
		p.rouse()
	}
	p.mu.Unlock()
	c.run(false)
	return true
}

// park waits to be woken. p.mu is held on entry and released.
func (p *pool) park(w *worker) bool {
	if cap(p.queue) > maxIdleQueue {
		p.queue, p.head = nil, 0
	}
	if p.closed {
		p.mu.Unlock()
		return false
	}
	p.idle = append(p.idle, w)
	if p.trim == nil {
		p.lull = 0
		p.trim = time.AfterFunc(trimInterval, p.trimIdle)
	}
	p.mu.Unlock()
	if !<-w.wake {
		p.gone.Done()
		return false
	}
	p.mu.Lock()
	p.waking = false
	p.mu.Unlock()
	return true
}

const maxIdleQueue = 1024

// trimIdle ends the workers that nobody needed since the last time, and stops
// looking when none is left.
func (p *pool) trimIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.dismiss(min(p.lull, len(p.idle)))
	p.lull = len(p.idle)
	p.trim = nil
	if len(p.idle) > 0 {
		p.trim = time.AfterFunc(trimInterval, p.trimIdle)
	}
}

// dismiss ends the n workers that have been idle longest. p.mu is held.
func (p *pool) dismiss(n int) {
	for _, w := range p.idle[:n] {
		p.gone.Add(1)
		w.wake <- false
	}
	rest := copy(p.idle, p.idle[n:])
	clear(p.idle[rest:])
	p.idle = p.idle[:rest]
}

// close ends the idle workers and waits for them. Workers that run a handler
// end after it; nobody waits for those.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	queue := p.queue[p.head:]
	p.queue, p.head = nil, 0
	if p.trim != nil {
		p.trim.Stop()
	}
	p.dismiss(len(p.idle))
	p.mu.Unlock()
	for _, c := range queue {
		c.release()
	}
	p.gone.Wait()
}
