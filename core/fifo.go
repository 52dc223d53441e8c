package core

import "iter"

// fifo is a queue that is left from its middle as quickly as from its front: where a
// peer has stopped reading, those who wait give up by the thousands.
type fifo[T any] struct{ first, last *inFifo[T] }

// inFifo is a place in a fifo.
type inFifo[T any] struct {
	of         T
	prev, next *inFifo[T]
}

func (q *fifo[T]) empty() bool { return q.first == nil }

func (q *fifo[T]) push(v T) *inFifo[T] {
	at := &inFifo[T]{of: v, prev: q.last}
	if q.last == nil {
		q.first = at
	} else {
		q.last.next = at
	}
	q.last = at
	return at
}

func (q *fifo[T]) remove(at *inFifo[T]) {
	if at.prev == nil {
		q.first = at.next
	} else {
		at.prev.next = at.next
	}
	if at.next == nil {
		q.last = at.prev
	} else {
		at.next.prev = at.prev
	}
}

// all goes from the front to the end.
func (q *fifo[T]) all() iter.Seq[T] {
	return func(yield func(T) bool) {
		for at := q.first; at != nil; at = at.next {
			if !yield(at.of) {
				return
			}
		}
	}
}
