package inmem

import (
	"context"
	"sync"
)

// A queue passes values to goroutines that wait for them with a context.
type queue[T any] struct {
	// ready holds a token while there may be something to take, an end
	// included. Whoever takes the token and leaves something puts it back.
	ready chan struct{}

	mu sync.Mutex // a leaf; never held while waiting

	// Guarded by mu.
	values []T
	err    error
}

func newQueue[T any]() *queue[T] {
	return &queue[T]{ready: make(chan struct{}, 1)}
}

// put reports whether the queue took v; it does not after its end.
func (q *queue[T]) put(v T) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return false
	}
	q.values = append(q.values, v)
	q.wake()
	return true
}

// end makes every take fail with err and returns the values that nobody took.
// The first end counts.
func (q *queue[T]) end(err error) []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	left := q.values
	q.values = nil
	if q.err == nil {
		q.err = err
	}
	q.wake()
	return left
}

// take returns the oldest value. It prefers a value to ctx's error, and ctx's
// error to waiting.
func (q *queue[T]) take(ctx context.Context) (T, error) {
	var none T
	if ctx == nil {
		return none, errNilContext
	}
	for {
		q.mu.Lock()
		if q.err != nil {
			q.wake()
			q.mu.Unlock()
			return none, q.err
		}
		if len(q.values) > 0 {
			v := q.values[0]
			q.values[0] = none
			if q.values = q.values[1:]; len(q.values) == 0 {
				q.values = nil
			} else {
				q.wake()
			}
			q.mu.Unlock()
			return v, nil
		}
		q.mu.Unlock()
		select {
		case <-q.ready:
		case <-ctx.Done():
			return none, ctx.Err()
		}
	}
}

func (q *queue[T]) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}
