package core

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/transport/inmem"
)

// oneLarge has memory for one large message of a kind.
func oneLarge(cfg *Config) { cfg.MaxMessage, cfg.MaxReassembly = 200_000, 200_000 }

// TestEchoesOfLargeMessages expects messages over the window to come back to callers
// that read all the time, whoever else does the same, and with memory for one of them:
// had those for handlers the same memory as those for callers, handlers that wait to
// send would hold what they wait for (D3, T6).
func TestEchoesOfLargeMessages(t *testing.T) {
	const streams, messages = 4, 20
	for _, test := range []struct {
		name       string
		back, self bool // b calls too; a calls itself
	}{
		{"one way", false, false},
		{"both ways", true, false},
		{"to the own node", false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := inmem.NewNetwork()
				network.SetLatency(time.Millisecond)
				nodes := map[string]*Manager{}
				for _, name := range []string{"b", "a"} {
					cfg := Config{Local: Node{Addr: name}, Peers: []Node{{Addr: "a"}, {Addr: "b"}}, Transport: network.Node(name)}
					oneLarge(&cfg)
					m, err := NewManager(cfg)
					if err != nil {
						t.Fatal(err)
					}
					echo := func(_ context.Context, _ []byte, s *RawStream) error {
						for msg, err := range s.All() {
							if err := errors.Join(err, s.Send(msg)); err != nil {
								return err
							}
						}
						return nil
					}
					if err := errors.Join(m.HandleStreamFunc("echo", echo), m.Start(t.Context())); err != nil {
						t.Fatal(err)
					}
					defer m.Close()
					nodes[name] = m
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				var wg sync.WaitGroup
				var echoed atomic.Int64
				want := int64(0)
				run := func(c *Connection) {
					want += streams * messages
					if err := c.WaitConnected(ctx); err != nil {
						t.Fatal(err)
					}
					for range streams {
						st, err := c.OpenStream(ctx, "echo", nil)
						if err != nil {
							t.Fatal(err)
						}
						wg.Go(func() {
							for range messages {
								if st.Send(make([]byte, 150_000)) != nil {
									return
								}
							}
							_ = st.CloseSend()
						})
						wg.Go(func() {
							for _, err := range st.All() {
								if err != nil {
									return
								}
								echoed.Add(1)
							}
						})
					}
				}
				if test.self {
					run(nodes["a"].Connection("a"))
				} else {
					run(nodes["a"].Connection("b"))
				}
				if test.back {
					run(nodes["b"].Connection("a"))
				}
				wg.Wait()
				if n := echoed.Load(); n != want {
					t.Errorf("%d of %d messages came back in an hour", n, want)
				}
			})
		})
	}
}

// TestUnreadLargeMessagesKeepTheirPlaces has handlers send a large message each and
// return, to a caller that reads none of them. No more of them begin than may wait for
// memory, though the ids of their streams are used again, and the session lives (W46).
func TestUnreadLargeMessagesKeepTheirPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newTestPair(t, oneLarge, func(b *Manager) error {
			return b.HandleStreamFunc("one", func(_ context.Context, _ []byte, s *RawStream) error {
				return s.Send(make([]byte, 100_000))
			}, WithCapacity(0, 4))
		})
		s := a.Connection("b").current.Load()
		const streams = 80
		var open []*RawStream
		for range streams {
			st, err := a.Connection("b").OpenStream(t.Context(), "one", nil)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, st)
			synctest.Wait()
		}
		if _, waiting := s.peer.memory[kindOutput].inUse(); waiting != maxUngranted {
			t.Errorf("%d messages have begun and wait for memory, want %d", waiting, maxUngranted)
		}
		// All at once: whose turn it is to have memory does not go by when they were opened.
		var wg sync.WaitGroup
		for i, st := range open {
			wg.Go(func() {
				if msg, err := st.Recv(nil); len(msg) != 100_000 || err != nil {
					t.Errorf("stream %d: a message of %d bytes, %v", i, len(msg), err)
				}
				if _, err := st.Recv(nil); err != io.EOF {
					t.Errorf("stream %d ended with %v", i, err)
				}
			})
		}
		wg.Wait()
		if a.Connection("b").current.Load() != s {
			t.Error("the session has ended")
		}
	})
}

// TestLargeMessagesThatNobodyTakesAreDropped has callers send large messages to
// handlers that take none any more, and give up. None is left that waits for memory,
// and the session lives (W46).
func TestLargeMessagesThatNobodyTakesAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := func(closes bool) func(context.Context, []byte, *RawStream) error {
			return func(ctx context.Context, _ []byte, s *RawStream) error {
				if closes {
					_ = s.Close()
				}
				<-ctx.Done()
				return nil
			}
		}
		a, b := newTestPair(t, oneLarge, func(b *Manager) error {
			return errors.Join(b.HandleStreamFunc("hold", handler(false)), b.HandleStreamFunc("closed", handler(true)))
		})
		held, err := a.Connection("b").OpenStream(t.Context(), "hold", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer held.Close()
		if err := held.Send(make([]byte, 150_000)); err != nil {
			t.Fatal(err)
		}
		s := b.Connection("a").current.Load()
		for i := range maxWaiting + 6 {
			st, err := a.Connection("b").OpenStream(t.Context(), "closed", nil)
			if err != nil {
				t.Fatalf("stream %d: %v", i, err)
			}
			synctest.Wait()
			if err := st.Send(make([]byte, 100_000)); err != nil {
				t.Fatalf("stream %d: %v", i, err)
			}
			synctest.Wait()
			_ = st.Close()
			synctest.Wait()
			if _, waiting := s.peer.memory[kindInput].inUse(); waiting > 0 {
				t.Fatalf("stream %d was given up, and %d messages wait for memory", i, waiting)
			}
		}
		if b.Connection("a").current.Load() != s {
			t.Error("the session has ended")
		}
	})
}

// TestMessagesOfAnEndedStreamOutliveItsTime expects what has arrived of a stream that
// ended cleanly to be there after its time is over, also messages that came in parts
// and need no memory but the window's.
func TestMessagesOfAnEndedStreamOutliveItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sizes := []int{10, 40_000, 10}
		a, _ := newTestPair(t, nil, func(b *Manager) error {
			return b.HandleStreamFunc("three", func(_ context.Context, _ []byte, s *RawStream) error {
				for _, n := range sizes {
					if err := s.Send(make([]byte, n)); err != nil {
						return err
					}
				}
				return nil
			})
		})
		st, err := a.Connection("b").OpenStream(t.Context(), "three", nil, WithTimeout(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		<-st.Done()
		time.Sleep(2 * time.Second)
		for _, n := range sizes {
			if msg, err := st.Recv(nil); len(msg) != n || err != nil {
				t.Errorf("a message of %d bytes, %v; want %d", len(msg), err, n)
			}
		}
		if _, err := st.Recv(nil); err != io.EOF {
			t.Errorf("the stream ended with %v", err)
		}
	})
}

// TestWindowsAreNotTakenForAMoment expects a stream to get its window whenever there
// is room for it, however many others try to grow theirs and may not.
func TestWindowsAreNotTakenForAMoment(t *testing.T) {
	const window = 1 << 16
	w := windows{limit: 4 * window, ends: 1}
	w.held.Store(2 * window)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !stop.Load() {
				if w.grow(window) || w.grow(4*window) {
					t.Error("a window has grown beyond half of the memory")
				}
			}
		})
	}
	for range 200_000 {
		if err := w.reserve(window); err != nil {
			t.Error(err)
			break
		}
		w.release(window)
	}
	stop.Store(true)
	wg.Wait()
}

// TestSendsOfAllSizesGetTheirTurn expects, of goroutines that send on one stream without
// end, those with large messages, which need all of the window, and those with small
// ones not to keep each other from it.
func TestSendsOfAllSizesGetTheirTurn(t *testing.T) {
	for name, larges := range map[string]int{"one large": 1, "many large": 4} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := inmem.NewNetwork()
				network.SetLatency(time.Millisecond)
				nodes := []Node{{Addr: "a"}, {Addr: "b"}}
				var all []*Manager
				for _, n := range nodes {
					m, err := NewManager(Config{Local: n, Peers: nodes, Transport: network.Node(n.Addr), StreamWindow: 1 << 20})
					if err != nil {
						t.Fatal(err)
					}
					sink := func(_ context.Context, _ []byte, s *RawStream) error {
						for _, err := range s.All() {
							if err != nil {
								return err
							}
						}
						return nil
					}
					if err := errors.Join(m.HandleStreamFunc("sink", sink), m.Start(t.Context())); err != nil {
						t.Fatal(err)
					}
					defer m.Close()
					all = append(all, m)
				}
				if err := all[0].WaitConnected(t.Context()); err != nil {
					t.Fatal(err)
				}
				st, err := all[0].Connection("b").OpenStream(t.Context(), "sink", nil)
				if err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				sent := make([]atomic.Int64, 2+larges)
				for i := range sent {
					wg.Go(func() {
						size := 1000
						if i >= 2 {
							size = 2 << 20
						}
						for st.Send(make([]byte, size)) == nil {
							sent[i].Add(1)
							if i < 2 {
								time.Sleep(300 * time.Microsecond)
							}
						}
					})
				}
				waits := func() int {
					for i := range sent {
						if sent[i].Load() < 3 {
							return i
						}
					}
					return -1
				}
				for range 300 {
					if time.Sleep(100 * time.Millisecond); waits() < 0 {
						break
					}
				}
				if i := waits(); i >= 0 {
					t.Errorf("sender %d has sent %d messages in 30 seconds", i, sent[i].Load())
				}
				_ = st.Close()
				wg.Wait()
			})
		})
	}
}
