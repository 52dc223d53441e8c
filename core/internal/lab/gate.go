package lab

import (
	"context"
	"sync"
	"testing"
)

// Gate is a handler that reports when it has begun and waits to be let go, at
// the latest by the end of the test.
type Gate struct {
	Began chan context.Context // of every call, when its handler begins
	Open  chan struct{}        // a value lets one call go
	once  sync.Once
}

// NewGate returns a gate. So many calls as its capacity begin before somebody
// has to receive from Began.
func NewGate(t testing.TB, capacity int) *Gate {
	g := &Gate{Began: make(chan context.Context, capacity), Open: make(chan struct{})}
	t.Cleanup(g.Release)
	return g
}

// Release lets all calls go, those to come too. It may be called again.
func (g *Gate) Release() { g.once.Do(func() { close(g.Open) }) }

// Handle is the handler that ignores its context.
func (g *Gate) Handle(ctx context.Context, req []byte) ([]byte, error) {
	g.Began <- ctx
	<-g.Open
	return req, nil
}

// HandleContext is the handler that returns early, with the error of its
// context, when that ends.
func (g *Gate) HandleContext(ctx context.Context, req []byte) ([]byte, error) {
	g.Began <- ctx
	select {
	case <-g.Open:
		return req, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
