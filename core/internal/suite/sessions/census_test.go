package sessions_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
)

// census counts the connections that a node has open, and decides about its
// dials.
type census struct {
	transport.Transport

	mu    sync.Mutex
	open  int
	most  int         // that were open at once
	dials []time.Time // all that were begun
	// refuse is asked before every dial, if it is set.
	refuse func(ctx context.Context, to transport.Peer) error
	// resolve gives the address that is dialled, if it is set.
	resolve func(to transport.Peer) string
}

// takeCensus puts a census in front of every node's transport. A node that is
// restarted keeps its own.
func takeCensus(n int) ([]*census, coretest.Option) {
	all := make([]*census, n)
	for i := range all {
		all[i] = new(census)
	}
	return all, coretest.WithConfig(func(i int, cfg *core.Config) {
		all[i].Transport = cfg.Transport
		cfg.Transport = all[i]
	})
}

func (s *census) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	s.mu.Lock()
	s.dials = append(s.dials, time.Now())
	refuse, resolve := s.refuse, s.resolve
	s.mu.Unlock()
	if refuse != nil {
		if err := refuse(ctx, to); err != nil {
			return nil, err
		}
	}
	if resolve != nil {
		to.Addr = resolve(to)
	}
	tc, err := s.Transport.Dial(ctx, to)
	if err != nil {
		return nil, err
	}
	return s.count(tc), nil
}

func (s *census) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	ln, err := s.Transport.Listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	return censusListener{ln, s}, nil
}

type censusListener struct {
	transport.Listener
	s *census
}

func (l censusListener) Accept(ctx context.Context) (transport.Conn, error) {
	tc, err := l.Listener.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return l.s.count(tc), nil
}

// censusConn leaves the census when the node closes it, as it has to with every
// connection.
type censusConn struct {
	transport.Conn
	s    *census
	once sync.Once
}

func (s *census) count(tc transport.Conn) transport.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	s.most = max(s.most, s.open)
	return &censusConn{Conn: tc, s: s}
}

func (c *censusConn) CloseWithError(code uint32, reason string) error {
	c.once.Do(func() {
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		c.s.open--
	})
	return c.Conn.CloseWithError(code, reason)
}

// opened returns how many connections are open now.
func (s *census) opened() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// dialled returns when dials were begun.
func (s *census) dialled() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.dials...)
}

func (s *census) refuseWith(f func(ctx context.Context, to transport.Peer) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = f
}

func (s *census) resolveWith(f func(to transport.Peer) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resolve = f
}

var errWall = errors.New("there is a wall in the way")

// wall refuses every dial at once, blackHole when its context ends.
func wall(context.Context, transport.Peer) error { return errWall }

func blackHole(ctx context.Context, _ transport.Peer) error {
	<-ctx.Done()
	return ctx.Err()
}

// wantOneSession holds that two nodes that know nobody else have one connection,
// the same one, and that calls succeed both ways.
func wantOneSession(t *testing.T, c *lab.Cluster, all []*census, when string) {
	t.Helper()
	for i := range 2 {
		if n := all[i].opened(); n != 1 {
			t.Errorf("%s node %d has %d open connections, want 1", when, i, n)
		}
		if s := c.Conn(i, 1-i).State(); s != core.StateConnected {
			t.Errorf("%s the state of node %d is %v, want connected", when, i, s)
		}
		if err := c.Ledger.Call(t.Context(), c.Conn(i, 1-i), "afterwards", coretest.LedgerAppend, coretest.Job{}); err != nil {
			t.Errorf("%s a call of node %d returned %v", when, i, err)
		}
	}
}
