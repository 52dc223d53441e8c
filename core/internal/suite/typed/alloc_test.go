//go:build !race

package typed_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// What a typed call may allocate, at both ends together, for messages of fixed size:
// its request and response at the handler, and with Call the response at the caller.
// Contexts of handlers are cut from one allocation for 32, and a collection empties
// the pools of buffers: testing.AllocsPerRun leaves out such fractions, and so does
// this.
const fraction = 0.1

var (
	points  = core.NewUnary[Point, Point]("alloc.points")
	inline  = core.NewUnary[Point, Point]("alloc.inline", core.WithInline())
	blocks  = core.NewUnary[Block, Block]("alloc.blocks")
	timed   = core.NewUnary[Point, Point]("alloc.timed", core.WithTimeout(time.Minute))
	routed  = core.NewUnary[Point, Point]("alloc.routed", core.WithRoute("disk/7"))
	sends   = core.NewServerStream[Point, Block]("alloc.sends")
	returns = core.NewBidi[Point, Block, Block]("alloc.returns")
)

func registerCosts(m *core.Manager) error {
	answer := func(_ context.Context, p *Point) (*Point, error) { return &Point{X: p.Y, Y: p.X}, nil }
	return errors.Join(
		points.Handle(m, answer), inline.Handle(m, answer), timed.Handle(m, answer), routed.Handle(m, answer),
		blocks.Handle(m, func(_ context.Context, b *Block) (*Block, error) { return &Block{ID: b.ID}, nil }),
		sends.Handle(m, func(_ context.Context, p *Point, send func(*Block) error) error {
			b := new(Block)
			for i := range p.X {
				b.ID = uint64(i)
				if err := send(b); err != nil {
					return err
				}
			}
			return nil
		}),
		returns.Handle(m, func(_ context.Context, _ *Point, s *core.TypedStream[Block, Block]) error {
			b := new(Block)
			for {
				if err := s.RecvInto(b); err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
				if err := s.Send(b); err != nil {
					return err
				}
			}
		}),
	)
}

// measured runs a test over the links that are measured.
func measured(t *testing.T, f func(t *testing.T, l *lab.Link)) {
	for _, l := range lab.Links {
		if l.Name == "inmem" || l.Name == "websocket-tcp" {
			t.Run(l.Name, func(t *testing.T) { f(t, l) })
		}
	}
}

// TestAllocationsOfTypedCalls holds Call to 4 and CallInto to 2 allocations, at both
// ends together, for messages of fixed size, with one caller and several.
func TestAllocationsOfTypedCalls(t *testing.T) {
	measured(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, serve(registerCosts))
		conn := c.Conn(0, 1)
		var onRoute core.Caller = conn.Route("disk/7")
		cancellable, cancel := context.WithCancel(t.Context())
		defer cancel()
		opts := []core.CallOption{core.WithPriority(core.PriorityHigh), core.WithTimeout(time.Minute)}
		hold := func(name string, callers int, call, callInto func(p *Point, b *Block) error) {
			t.Helper()
			for _, test := range []struct {
				name string
				do   func(p *Point, b *Block) error
				most float64
			}{{"Call", call, 4}, {"CallInto", callInto, 2}} {
				got := lab.LeastAllocations(callers, 4000, test.most+fraction, func(caller, times int) {
					p, b := &Point{X: int64(caller)}, new(Block)
					for range times {
						if err := test.do(p, b); err != nil {
							t.Error(err)
							return
						}
					}
				})
				t.Logf("%s %s: %.3f allocations", test.name, name, got)
				if got > test.most+fraction {
					t.Errorf("%s %s makes %.3f allocations, at both ends together, want at most %v", test.name, name, got, test.most)
				}
			}
		}
		unary := func(u *core.Unary[Point, Point], ctx context.Context, to core.Caller, opts ...core.CallOption) (call, callInto func(*Point, *Block) error) {
			return func(p *Point, _ *Block) error { return errOf(u.Call(ctx, to, p, opts...)) },
				func(p *Point, _ *Block) error { return u.CallInto(ctx, to, p, p, opts...) }
		}
		for _, callers := range []int{1, 16} {
			for name, of := range map[string]func() (call, callInto func(*Point, *Block) error){
				"plain":        func() (_, _ func(*Point, *Block) error) { return unary(points, t.Context(), conn) },
				"inline":       func() (_, _ func(*Point, *Block) error) { return unary(inline, t.Context(), conn) },
				"cancellable":  func() (_, _ func(*Point, *Block) error) { return unary(points, cancellable, conn) },
				"with options": func() (_, _ func(*Point, *Block) error) { return unary(points, cancellable, conn, opts...) },
				"on a route":   func() (_, _ func(*Point, *Block) error) { return unary(routed, t.Context(), onRoute) },
				"with those of the declaration": func() (_, _ func(*Point, *Block) error) {
					return unary(timed, t.Context(), conn)
				},
				"with those of both": func() (_, _ func(*Point, *Block) error) { return unary(timed, t.Context(), conn, opts...) },
				"of blocks": func() (_, _ func(*Point, *Block) error) {
					return func(_ *Point, b *Block) error { return errOf(blocks.Call(t.Context(), conn, b)) },
						func(_ *Point, b *Block) error { return blocks.CallInto(t.Context(), conn, b, b) }
				},
			} {
				call, callInto := of()
				hold(fmt.Sprintf("%s, callers %d", name, callers), callers, call, callInto)
			}
		}
	})
}

// TestAllocationsOfTypedMessages holds messages of typed streams to one allocation
// each, at both ends together, for what the caller gets to keep, and to none where it
// says where to.
func TestAllocationsOfTypedMessages(t *testing.T) {
	const messages = 20_000
	measured(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, serve(registerCosts))
		conn := c.Conn(0, 1)
		back := func(recv func(s *core.TypedStream[Block, Block]) error) error {
			s, err := returns.Open(t.Context(), conn, new(Point))
			if err != nil {
				return err
			}
			sent := lab.Go(func() error {
				b := new(Block)
				for range messages {
					if err := s.Send(b); err != nil {
						return err
					}
				}
				return s.CloseSend()
			})
			if err := recv(s); err != nil {
				return err
			}
			return <-sent
		}
		for _, test := range []struct {
			name string
			most float64
			do   func() error
		}{
			{"a server stream", 1, func() (last error) {
				for _, last = range sends.Call(t.Context(), conn, &Point{X: messages}) {
				}
				return last
			}},
			{"All", 1, func() error {
				return back(func(s *core.TypedStream[Block, Block]) (last error) {
					for _, last = range s.All() {
					}
					return last
				})
			}},
			{"RecvInto", 0, func() error {
				return back(func(s *core.TypedStream[Block, Block]) error {
					b := new(Block)
					for {
						if err := s.RecvInto(b); err == io.EOF {
							return nil
						} else if err != nil {
							return err
						}
					}
				})
			}},
		} {
			got := lab.LeastAllocations(1, messages, test.most+fraction, func(int, int) {
				if err := test.do(); err != nil {
					t.Error(err)
				}
			})
			t.Logf("%s: %.3f allocations per message", test.name, got)
			if got > test.most+fraction {
				t.Errorf("%s: a message makes %.3f allocations, at both ends together, want at most %v", test.name, got, test.most)
			}
		}
	})
}
