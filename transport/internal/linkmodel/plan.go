package linkmodel

import (
	"sync"
	"sync/atomic"
)

// A Plan is what is to happen at a given byte of a direction. The zero Plan is
// empty. Its methods may be called concurrently, also on nil.
type Plan struct {
	armed atomic.Bool

	mu sync.Mutex // a leaf; never held while waiting

	// What is left until it happens, plus 1; 0 for nothing planned. Guarded by
	// mu.
	cut, stall, flip int64
}

// An Effect says what happens at a frame.
type Effect uint8

const (
	// Nothing happens.
	Nothing Effect = iota
	// Stall holds what follows.
	Stall
	// Cut breaks the connection.
	Cut
)

// A Verdict is what a Plan does to a frame.
type Verdict struct {
	Before Effect // happens in place of the frame, or before it
	After  Effect // happens when the frame has been carried
	Flip   int    // the bit to flip, or -1
}

// CutAfter breaks the connection when n more bytes have been carried; with n 0,
// in place of the next frame. A negative n forgets it.
func (p *Plan) CutAfter(n int) { p.arm(&p.cut, n) }

// StallAfter is CutAfter for a stall.
func (p *Plan) StallAfter(n int) { p.arm(&p.stall, n) }

// CorruptNext flips one bit of the bytes that come next. A negative bit forgets
// it.
func (p *Plan) CorruptNext(bit int) { p.arm(&p.flip, bit) }

func (p *Plan) arm(what *int64, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*what = int64(max(n, -1)) + 1
	p.update()
}

// Clear empties the plan.
func (p *Plan) Clear() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.stall, p.flip = 0, 0, 0
	p.update()
}

// Armed reports whether anything is planned.
func (p *Plan) Armed() bool { return p != nil && p.armed.Load() }

func (p *Plan) update() { p.armed.Store(p.cut != 0 || p.stall != 0 || p.flip != 0) }

// Frame counts a frame of size bytes.
func (p *Plan) Frame(size int) Verdict {
	v := Verdict{Flip: -1}
	if !p.Armed() {
		return v
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.update()
	v.Before, v.After = reach(&p.cut, size, Cut)
	if v.Before == Nothing {
		before, after := reach(&p.stall, size, Stall)
		v.Before, v.After = before, max(v.After, after)
	}
	if bits := int64(size) * 8; p.flip > bits {
		p.flip -= bits
	} else if p.flip > 0 {
		v.Flip, p.flip = int(p.flip-1), 0
	}
	return v
}

// reach counts size bytes towards what happens at left-1 bytes from now.
func reach(left *int64, size int, e Effect) (before, after Effect) {
	n, length := *left-1, int64(size)
	switch {
	case n < 0:
	case n == 0 || length > n:
		*left = 0
		return e, Nothing
	default:
		if *left -= length; *left == 1 {
			*left = 0
			return Nothing, e
		}
	}
	return Nothing, Nothing
}
