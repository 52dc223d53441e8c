package inmem

import (
	"errors"
	"sync"

	"github.com/gridmux/gridmux/transport"
)

// maxFrame bounds a frame's length in bytes.
const maxFrame = 64 << 20

// A pipe takes frames one way, from one end of a lane to the other. Its queue
// is in two parts: at the head the frames that have arrived, behind them those
// that the link still carries. Both count against room.
type pipe struct {
	link *link
	room int // bytes; a longer frame passes when the queue is empty

	// lent is the frame that the reader has borrowed. It is the reader's own.
	lent *buffer

	mu sync.Mutex // a leaf; never held while waiting

	// Guarded by mu.
	head, tail *buffer
	arrived    int   // frames at the head that may be read
	size       int   // charge of the whole queue
	readErr    error // given to the reader once nothing more has arrived
	writeErr   error // given to the writer at once
	readable   wait
	writable   wait
	need       int // charge of the frame that the waiting writer holds
}

// A wait is a condition for which at most one goroutine waits. Signalling it
// costs nothing unless somebody does.
type wait struct {
	cond    sync.Cond
	waiting bool
}

func (p *pipe) init(l *link, room int) {
	p.link, p.room = l, room
	p.readable.cond.L = &p.mu
	p.writable.cond.L = &p.mu
}

func (w *wait) wait() {
	w.waiting = true
	w.cond.Wait()
}

func (w *wait) signal() {
	if w.waiting {
		w.waiting = false
		w.cond.Signal()
	}
}

// read is the ReadFrame of both ends.
func (p *pipe) read(limit int) ([]byte, error) {
	if p.lent != nil {
		p.lent.free()
		p.lent = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.arrived == 0 {
		if p.readErr != nil {
			return nil, p.readErr
		}
		p.readable.wait()
	}
	b := p.head
	if len(b.data) > limit {
		p.arrived = 0
		p.readErr = transport.FrameTooLargeError(uint64(len(b.data)), limit)
		return nil, p.readErr
	}
	p.head = b.next
	p.arrived--
	p.size -= b.charge()
	// A writer that waits for room is left alone until half of it is free:
	// else the two would take turns frame by frame.
	if p.writable.waiting && (p.size == 0 || p.size <= p.room/2 && p.size+p.need <= p.room) {
		p.writable.signal()
	}
	p.lent = b
	return b.data, nil
}

// write is the WriteFrames of both ends.
func (p *pipe) write(frames [][]byte) error {
	for _, f := range frames {
		if len(f) > maxFrame {
			return transport.FrameTooLargeError(uint64(len(f)), maxFrame)
		}
	}
	for {
		var chain *buffer
		chain, frames = copyFrames(frames, p.room)
		if err := p.push(chain); err != nil {
			return err
		}
		if len(frames) == 0 {
			return nil
		}
	}
}

// copyFrames copies frames up to a charge of room, but at least one, and
// returns those left. Copying happens outside the lock, and is bounded because
// a writer that has to wait must not double the memory of a large batch.
func copyFrames(frames [][]byte, room int) (chain *buffer, rest [][]byte) {
	var tail *buffer
	for i, f := range frames {
		room -= len(f) + overhead
		if room < 0 && i > 0 {
			return chain, frames[i:]
		}
		b := newBuffer(f)
		if tail == nil {
			chain = b
		} else {
			tail.next = b
		}
		tail = b
	}
	return chain, nil
}

// push appends chain to the queue, waiting for room.
func (p *pipe) push(chain *buffer) error {
	p.mu.Lock()
	for {
		if err := p.writeErr; err != nil {
			p.mu.Unlock()
			freeChain(chain)
			return err
		}
		n, first := 0, chain
		for chain != nil && (p.size == 0 || p.size+chain.charge() <= p.room) {
			b := chain
			chain, b.next = b.next, nil
			p.append(b)
			n++
		}
		if n > 0 {
			if p.link.direct.Load() {
				p.arriveLocked(n)
			} else {
				// The link's lock comes before this one.
				p.mu.Unlock()
				p.link.carryFrames(p, first, n)
				p.mu.Lock()
			}
		}
		if chain == nil {
			p.mu.Unlock()
			return nil
		}
		// Room may have come up while the link had the frames.
		if p.writeErr == nil && p.size > 0 && p.size+chain.charge() > p.room {
			p.need = chain.charge()
			p.writable.wait()
		}
	}
}

func (p *pipe) append(b *buffer) {
	if p.head == nil {
		p.head = b
	} else {
		p.tail.next = b
	}
	p.tail = b
	p.size += b.charge()
}

// arrive makes the next n frames readable.
func (p *pipe) arrive(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.arriveLocked(n)
}

func (p *pipe) arriveLocked(n int) {
	if p.readErr == nil {
		p.arrived += n
		p.readable.signal()
	}
}

// endRead lets the reader have what has arrived, and then err.
func (p *pipe) endRead(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readErr == nil {
		p.readErr = err
	}
	p.readable.signal()
}

// abortRead drops all frames and gives the reader err. errClosed takes the
// place of any earlier error: an owner that has closed sees nothing else. The
// room stays taken, because the writer must not learn of it before the link
// has told its end.
func (p *pipe) abortRead(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readErr == nil || errors.Is(err, errClosed) {
		p.readErr = err
	}
	freeChain(p.head)
	p.head, p.tail, p.arrived = nil, nil, 0
	p.readable.signal()
}

// endWrite gives the writer err. errClosed takes the place of any earlier one.
func (p *pipe) endWrite(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writeErr == nil || errors.Is(err, errClosed) {
		p.writeErr = err
	}
	p.writable.signal()
}

func freeChain(b *buffer) {
	for b != nil {
		next := b.next
		b.free()
		b = next
	}
}
