package main

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
)

// openPair connects two nodes over inmem.
func openPair(t *testing.T, handlers func(m *core.Manager) error) *cluster {
	t.Helper()
	c, err := openCluster(t.Context(), kinds()[0].open(onLoopback), []string{"a", "b"}, nil, handlers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.end(context.WithoutCancel(t.Context())) })
	return c
}

// TestTasks expects every load to work with messages of all sizes, window after
// window, and to leave nothing under way.
func TestTasks(t *testing.T) {
	for _, size := range []int{0, 1, 512, 100_000} {
		opts := options{callers: []int{1, 3}, streams: []int{1, 3}, fanout: []int{1}, tables: tables(), size: size, sizes: []int{2000}}
		c := openPair(t, func(m *core.Manager) error { return errors.Join(serveEcho(m), serveStreams(m)) })
		for _, l := range loads(opts, plan{}) {
			b, work := newBench(l.atOnce+bulkCallers), l.tasks(c.peers())
			if len(work.measured) != l.atOnce {
				t.Errorf("%s: %d tasks", l.title, len(work.measured))
			}
			for range 2 {
				s, err := b.window(t.Context(), &l, work, time.Millisecond, 5*time.Millisecond)
				if err != nil {
					t.Errorf("%s of %d B: %v", l.title, size, err)
				} else if s.Count%int64(l.each) != 0 || (s.P50 > 0) != (l.table != streams) {
					t.Errorf("%s of %d B: %+v", l.title, size, s)
				}
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), connectTimeout)
		defer cancel()
		if err := c.nodes["a"].Shutdown(ctx); err != nil {
			t.Errorf("something was still under way: %v", err)
		}
	}
}

// TestBeside expects what is done beside a load to be counted by itself.
func TestBeside(t *testing.T) {
	const slow = 4
	var did [2]int
	count := func(i int) task {
		return func(context.Context) (step func() error, end func(), err error) {
			return func() error {
				if did[i]++; i == 1 {
					time.Sleep(slow * time.Millisecond)
				}
				return nil
			}, func() {}, nil
		}
	}
	l := load{each: 10}
	s, err := newBench(2).window(t.Context(), &l, tasks{measured: []task{count(0)}, beside: []task{count(1)}}, 0, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if s.Count == 0 || s.Count > int64(10*did[0]) || s.Beside == 0 || s.Beside > int64(did[1]) {
		t.Errorf("counted %d and %d beside, of 10 times %d steps and of %d", s.Count, s.Beside, did[0], did[1])
	}
}

// TestWrongMessages expects a load to fail where another message arrives than was
// asked for, and where there is no handler.
func TestWrongMessages(t *testing.T) {
	wrong := func(_ context.Context, payload []byte, s *core.RawStream) error {
		for {
			other := slices.Clone(payload)
			other[len(other)-1]++
			if err := s.Send(other); err != nil {
				return err
			}
		}
	}
	short := func(_ context.Context, payload []byte, s *core.RawStream) error {
		return s.Send(payload[1:])
	}
	for name, test := range map[string]struct {
		handlers func(m *core.Manager) error
		want     error
	}{
		"other message": {func(m *core.Manager) error { return m.HandleStreamFunc(sourceID, wrong) }, errWrongAnswer},
		"short message": {func(m *core.Manager) error { return m.HandleStreamFunc(sourceID, short) }, errWrongAnswer},
		"no handler":    {nil, core.ErrUnknownHandler},
	} {
		t.Run(name, func(t *testing.T) {
			c := openPair(t, test.handlers)
			l := streamLoads(options{streams: []int{1}, size: 10}, plan{})[0]
			_, err := newBench(1).window(t.Context(), &l, l.tasks(c.peers()), 0, time.Second)
			if !errors.Is(err, test.want) {
				t.Errorf("the window returned %v, want %v", err, test.want)
			}
		})
	}
}
