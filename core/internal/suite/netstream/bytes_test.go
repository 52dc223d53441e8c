package netstream_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// TestSizes expects bytes to arrive as they are, whatever the sizes of writes,
// reads and windows.
func TestSizes(t *testing.T) {
	for _, window := range []int{0, 1, 100, 1 << 20} {
		t.Run(fmt.Sprint("window ", window), func(t *testing.T) {
			lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
				size := 300_000
				switch window { // each of which is a round trip
				case 1:
					size = lab.Scale(2000, 500, 2000)
				case 100:
					size = lab.Scale(300_000, 30_000, 300_000)
				}
				text := lab.Pattern(3, size)
				c := listen(t, l, 2, lab.Configure(func(cfg *core.Config) { cfg.StreamWindow = window }))
				for _, writes := range []int{1, 7, 1000, 32 << 10, 1 << 20} {
					part := text[:min(size, writes*5000)]
					dialled, accepted := c.pair()
					for _, way := range []struct{ from, to net.Conn }{{dialled, accepted}, {accepted, dialled}} {
						sending := lab.Go(func() error {
							for at := 0; at < len(part); at += writes {
								n, err := way.from.Write(part[at:min(at+writes, len(part))])
								if err != nil {
									return fmt.Errorf("after %d bytes: %w", at+n, err)
								}
							}
							return way.from.(interface{ CloseWrite() error }).CloseWrite()
						})
						if len(part) <= 10_000 {
							if err := iotest.TestReader(way.to, part); err != nil { // by one to three bytes
								t.Errorf("writes of %d bytes: %v", writes, err)
							}
						} else if got, err := io.ReadAll(iotest.HalfReader(way.to)); err != nil || !bytes.Equal(got, part) {
							t.Errorf("writes of %d bytes: read %d, %v, not those that were written", writes, len(got), err)
						}
						if err := lab.Wait(t, sending, "all is written"); err != nil {
							t.Error(err)
						}
					}
				}
			})
		})
	}
}

// TestMessageSizes expects Write to make messages of at most 32 KiB, and of no more
// than the window of the other side.
func TestMessageSizes(t *testing.T) {
	for _, window := range []int{1000, 1 << 20} {
		t.Run(fmt.Sprint("window ", window), func(t *testing.T) {
			lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
				const total = 100_000
				c := l.Cluster(t, 2,
					streamOption("sizes", func(_ context.Context, _ []byte, s *core.RawStream) error {
						most, got := 0, 0
						for m, err := range s.All() {
							if err != nil {
								return err
							}
							most, got = max(most, len(m)), got+len(m)
						}
						return s.Send(fmt.Append(nil, got, " ", most))
					}),
					lab.Configure(func(cfg *core.Config) { cfg.StreamWindow = window }))
				st, err := c.Conn(0, 1).OpenStream(t.Context(), "sizes", nil)
				if err != nil {
					t.Fatal(err)
				}
				defer st.Close()
				if n, err := st.Conn().Write(make([]byte, total)); n != total || err != nil {
					t.Errorf("Write returned %d, %v", n, err)
				}
				st.CloseSend()
				want := fmt.Sprint(total, " ", min(window, 32<<10))
				if got, err := st.Recv(nil); string(got) != want || err != nil {
					t.Errorf("bytes and largest message: %s, %v, want %s", got, err, want)
				}
			})
		})
	}
}

// TestMessagesAsBytes expects a net.Conn to read the messages of another kind of
// sender, empty ones and ones that came in parts among them, and what Read has
// left of a message to be the next one for Recv.
func TestMessagesAsBytes(t *testing.T) {
	messages := [][]byte{
		[]byte("small"),
		{},
		lab.Pattern(1, 40_000),
		{},
		lab.Pattern(2, 500_000), []byte("last"),
		[]byte("rest"), lab.Pattern(4, 200_000),
	}
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, streamOption("messages", func(_ context.Context, _ []byte, s *core.RawStream) error {
			for _, m := range messages {
				if err := s.Send(m); err != nil {
					return err
				}
			}
			return nil
		}))
		st, err := c.Conn(0, 1).OpenStream(t.Context(), "messages", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		conn := st.Conn()
		want := bytes.Join(messages[:6], nil)
		got := make([]byte, len(want)+2)
		if n, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, append(want, "re"...)) {
			t.Fatalf("read %d bytes, %v, not those that were sent", n, err)
		}
		if m, err := st.Recv(nil); string(m) != "st" || err != nil {
			t.Errorf("Recv after Read returned %q, %v, want the rest of the message", m, err)
		}
		large := messages[7]
		if _, err := io.ReadFull(conn, got[:1000]); err != nil || !bytes.Equal(got[:1000], large[:1000]) {
			t.Errorf("read a part of a large message: %v", err)
		}
		if m, err := st.Recv([]byte("before")); !bytes.Equal(m, append([]byte("before"), large[1000:]...)) || err != nil {
			t.Errorf("Recv after Read returned %d bytes, %v, want the rest of a large message", len(m), err)
		}
		if n, err := conn.Read(got); n != 0 || err != io.EOF {
			t.Errorf("Read returned %d, %v at the end", n, err)
		}
	})
}

// TestCreditAfterParts expects reading in parts to give all credit back: messages
// go on for as long as a stream lives.
func TestCreditAfterParts(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2,
			streamOption("echo.bytes", copyBack, core.WithCapacity(3, 3)),
			lab.Configure(func(cfg *core.Config) { cfg.StreamWindow = 1000 }))
		conn, err := c.Conn(0, 1).Dial(t.Context(), "echo.bytes")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		got := make([]byte, 700)
		for i := range lab.Scale(3000, 500, 50_000) {
			text := lab.Pattern(i, 700)
			if _, err := conn.Write(text); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(iotest.HalfReader(conn), got); err != nil || !bytes.Equal(got, text) {
				t.Fatalf("round %d: %v", i, err)
			}
		}
	})
}

// TestWritersDoNotMix expects what one Write writes to stay together, and the
// bytes of a Read to be of one reader alone.
func TestWritersDoNotMix(t *testing.T) {
	const writers, size = 8, 100_000
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		dialled, accepted := c.pair()
		var writing, reading sync.WaitGroup
		for i := range writers {
			writing.Go(func() { write(t, dialled, strings.Repeat(string(rune('a'+i)), size)) })
		}
		got, err := io.ReadAll(io.LimitReader(accepted, writers*size))
		if err != nil {
			t.Fatal(err)
		}
		writing.Wait()
		for part := range slices.Chunk(got, size) {
			if len(bytes.Trim(part, string(part[0]))) != 0 {
				t.Errorf("the bytes of one Write are apart")
			}
		}

		var mu sync.Mutex
		var counts [256]int
		for range 4 {
			reading.Go(func() {
				part := make([]byte, 777)
				for {
					n, err := accepted.Read(part)
					mu.Lock()
					for _, b := range part[:n] {
						counts[b]++
					}
					mu.Unlock()
					if err == io.EOF {
						return
					} else if err != nil {
						t.Errorf("a reader got %v", err)
						return
					}
				}
			})
		}
		for range 1000 {
			write(t, dialled, "abcdefgh")
		}
		dialled.Close()
		reading.Wait()
		for i := range writers {
			if counts['a'+i] != 1000 {
				t.Errorf("%c was read %d times by all readers together, want 1000", 'a'+i, counts['a'+i])
			}
		}
	})
}

// TestConnIdentity expects Conn to return the same connection every time, whose
// addresses are the names of the nodes.
func TestConnIdentity(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		far := make(chan [2]net.Conn, 1)
		c := l.Cluster(t, 2, streamOption("twice", func(_ context.Context, _ []byte, s *core.RawStream) error {
			far <- [2]net.Conn{s.Conn(), s.Conn()}
			return nil
		}))
		st, err := c.Conn(0, 1).OpenStream(t.Context(), "twice", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		conns := lab.Wait(t, far, "the handler runs")
		if conns[0] != conns[1] || st.Conn() != st.Conn() {
			t.Error("Conn returned two connections for one stream")
		}
		for _, addr := range []struct {
			got  net.Addr
			want string
		}{
			{st.Conn().LocalAddr(), "node-0"},
			{st.Conn().RemoteAddr(), "node-1"},
			{conns[0].LocalAddr(), "node-1"},
			{conns[0].RemoteAddr(), "node-0"},
		} {
			if addr.got.Network() != "gridmux" || addr.got.String() != addr.want {
				t.Errorf("address %s %s, want gridmux %s", addr.got.Network(), addr.got, addr.want)
			}
		}
	})
}

// TestReadBesideRecv expects a Read while somebody is in Recv to be refused, and
// an empty one to return at once.
func TestReadBesideRecv(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, streamOption("echo.bytes", copyBack))
		st, err := c.Conn(0, 1).OpenStream(t.Context(), "echo.bytes", nil)
		if err != nil {
			t.Fatal(err)
		}
		receiving := lab.Go(func() error { _, err := st.Recv(nil); return err })
		synctest.Wait()
		if n, err := st.Conn().Read(nil); n != 0 || err != nil {
			t.Errorf("an empty Read returned %d, %v", n, err)
		}
		_, err = st.Conn().Read(make([]byte, 1))
		lab.WantText(t, "Read beside Recv", err, "another goroutine receives")
		write(t, st.Conn(), "x")
		if err := lab.Wait(t, receiving, "Recv returns"); err != nil {
			t.Errorf("Recv beside a Read returned %v", err)
		}
		st.Close()
	})
}
