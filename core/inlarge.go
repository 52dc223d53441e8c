package core

import (
	"fmt"
	"os"
	"slices"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// largeMessage is one that came, or comes, in parts.
type largeMessage struct {
	*assembly
	cost  int
	ready bool // guarded by RawStream.mu

	// Of who receives.
	taken    int  // of its bytes, by a net.Conn
	restored bool // what it became stands in mem; what is reserved for it stays
}

// isPacked reports whether the message has to be restored yet.
func (m *largeMessage) isPacked() bool { return m.how.codec != 0 && !m.restored }

// deliverFirst takes the first part of a message from the reader.
func (st *RawStream) deliverFirst(size uint64, part []byte, how packed) (err error) {
	q := &st.in
	decoded := size
	if how.codec != 0 {
		decoded = uint64(how.size())
	}
	m := &largeMessage{cost: how.cost(int(min(size, limitMaxMessage)), q.first)}
	st.mu.Lock()
	skip, err := st.arrive(decoded, m.cost)
	if skip {
		st.mu.Unlock()
		return err
	}
	m.assembly = &assembly{s: st.s, id: st.id, size: int(size), how: how}
	if decoded <= uint64(q.first) {
		m.mem = getBuffer(m.size) // the window has room for it
	} else {
		m.budget = &st.s.peer.memory[messageKind(st.serving())]
	}
	// In the same breath as its credit is taken, so that discard gives that back
	// once.
	q.partial = m
	if !q.dropping {
		q.append(largeMark, nil)
	}
	q.large = append(q.large, m)
	st.mu.Unlock()
	if m.budget != nil {
		if err = st.s.begin(m.assembly); err != nil {
			return err
		}
	}
	return st.deliverPart(part)
}

// deliverPart takes a further part of a message from the reader.
func (st *RawStream) deliverPart(part []byte) error {
	st.mu.Lock()
	m := st.in.partial
	st.mu.Unlock()
	if m == nil {
		if st.isOver() {
			return nil
		}
		return fmt.Errorf("%w: FRAGMENT without a message on stream %v", wire.ErrMalformed, st.id)
	}
	if whole, err := m.add(part); !whole {
		return err
	}
	st.mu.Lock()
	st.in.partial = nil
	st.mu.Unlock()
	if m.whenGranted(func(bool) { st.largeReady(m) }) == fateGranted {
		st.largeReady(m)
	}
	return nil
}

// lose gives up, at the end of the stream, the message of which parts are missing,
// and where all are dropped those that wait for memory, of which there are some if
// waited is set. RawStream.mu is held.
func (q *inbox) lose() (drop []*largeMessage, waited bool) {
	if q.partial != nil {
		q.partial.letGo()
		drop = append(drop, q.partial)
		q.large = slices.DeleteFunc(q.large, func(m *largeMessage) bool { return m == q.partial })
		q.partial = nil
	}
	if q.dropping {
		waited = len(q.large) > 0
		drop = append(drop, q.large...)
		q.large = nil
	}
	return drop, waited
}

// awaitsMemory reports whether a message holds memory of the peer, or waits for it.
// RawStream.mu is held.
func (q *inbox) awaitsMemory() bool {
	return slices.ContainsFunc(q.large, func(m *largeMessage) bool { return m.budget != nil })
}

func (st *RawStream) largeReady(m *largeMessage) {
	q := &st.in
	st.mu.Lock()
	m.ready = true
	dropping := q.dropping
	if dropping {
		q.large = slices.DeleteFunc(q.large, func(other *largeMessage) bool { return other == m })
	} else {
		st.countIn(m.weight())
	}
	q.wakeUp()
	stop := st.takeStop()
	st.mu.Unlock()
	if stop != nil {
		stop()
	}
	if dropping {
		m.drop()
		st.passOver(m.cost)
	}
}

// receiveLarge takes the message that largeMark stands for, once it is whole.
func (st *RawStream) receiveLarge(dst []byte) ([]byte, error) {
	m, err := st.awaitLarge()
	if err != nil {
		return dst, err
	}
	if m.isPacked() {
		return st.unpackLarge(dst, m)
	}
	st.takeLarge(m)
	if m.taken == 0 {
		return m.appendTo(dst), nil
	}
	dst = append(dst, m.mem.b[m.taken:]...)
	m.mem.put()
	return dst, nil
}

// awaitLarge waits until the message that largeMark stands for is whole.
func (st *RawStream) awaitLarge() (*largeMessage, error) {
	q := &st.in
	st.mu.Lock()
	defer st.mu.Unlock()
	for {
		var err error
		switch {
		case q.dropping || len(q.large) == 0:
			err = st.recvError() // dropped, or the rest of it does not come
		case q.large[0].ready:
		case q.expired:
			err = os.ErrDeadlineExceeded
		default:
			st.waitIn()
			continue
		}
		if err != nil {
			return nil, err
		}
		return q.large[0], nil
	}
}

// takeLarge gives back what the first of the large messages holds.
func (st *RawStream) takeLarge(m *largeMessage) {
	q := &st.in
	st.mu.Lock()
	if len(q.large) > 0 && q.large[0] == m { // else it was dropped just now
		q.large = slices.Delete(q.large, 0, 1)
	}
	stop := st.takeStop()
	st.mu.Unlock()
	if stop != nil {
		stop()
	}
	q.off += lengthSize
	m.drop()
	st.took(m.cost)
}
