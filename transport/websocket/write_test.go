package websocket

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport"
)

// countedConn counts the calls of Write and their sizes.
type countedConn struct {
	net.Conn
	writes []int
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.writes = append(c.writes, len(p))
	return c.Conn.Write(p)
}

// TestGathering: a batch is few writes where the link takes no vectors.
func TestGathering(t *testing.T) {
	for _, c := range []struct {
		sizes []int
		want  []int // with headers of 2, 4 or 10 bytes
	}{
		{nil, nil},
		{[]int{5}, []int{7}},
		{[]int{0}, []int{2}},
		{[]int{200_000}, []int{200_010}},
		{[]int{5, 0, 200, 30_000}, []int{7 + 2 + 204 + 30_004}},
		{[]int{40_000, 20_000, 10_000, 1}, []int{60_008, 10_004 + 3}},
		{[]int{10, 70_000, 10, 10}, []int{12, 70_010, 24}},
		{[]int{10, 65532, 10}, []int{12, 65536, 12}},
		{[]int{65531, 65533}, []int{65535, 65537}},
		{slices.Repeat([]int{100}, 1000), []int{65484, 36516}},
	} {
		synctest.Test(t, func(t *testing.T) {
			near, far := memnet.Pipe(memnet.WithBuffer(1 << 20))
			counted := &countedConn{Conn: near}
			conn, peer := newConn(counted, setup{}), newConn(far, setup{client: true})
			defer conn.CloseWithError(0, "")
			defer peer.CloseWithError(0, "")
			var batch [][]byte
			for _, size := range c.sizes {
				batch = append(batch, frame(strings.Repeat("x", size)))
			}
			if err := conn.WriteFrames(batch); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(counted.writes, c.want) {
				t.Errorf("sizes %v: writes of %v, want %v", c.sizes, counted.writes, c.want)
			}
			for i, size := range c.sizes {
				if p, err := peer.ReadFrame(1 << 20); err != nil || len(p) != size {
					t.Fatalf("sizes %v: frame %d has %d bytes, %v", c.sizes, i, len(p), err)
				}
			}
		})
	}
}

func TestShortFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connPair(t)
		err := client.WriteFrames([][]byte{frame("x"), make([]byte, headroom-1)})
		if err == nil {
			t.Error("a frame without its headroom was sent")
		}
		if err := client.WriteFrames([][]byte{frame("y")}); err != nil {
			t.Error(err)
		}
		if p, err := server.ReadFrame(1); err != nil || string(p) != "y" {
			t.Errorf("%q, %v", p, err)
		}
	})
}

// TestPartialWriteBreaksTheDirection: what follows half a frame would be taken
// for its rest.
func TestPartialWriteBreaksTheDirection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := rawPair(t, false, memnet.WithBuffer(10))
		c.raw.SetWriteDeadline(time.Now().Add(time.Second))
		err := c.WriteFrames([][]byte{frame(strings.Repeat("x", 100))})
		if err == nil {
			t.Fatal("100 bytes fit into 10")
		}
		c.raw.SetWriteDeadline(time.Time{})
		if again := c.WriteFrames([][]byte{frame("y")}); again == nil || again.Error() != err.Error() {
			t.Errorf("after %v: %v", err, again)
		}
		// The other direction works, and no close frame follows the half one.
		far.Write(masked(ws.NewBinaryFrame([]byte("z"))))
		if p, err := c.ReadFrame(1); err != nil || string(p) != "z" {
			t.Errorf("%q, %v", p, err)
		}
		c.CloseWithError(1, "")
		if n := far.Buffered(); n != 10 {
			t.Errorf("%d bytes went out, want the first 10", n)
		}
	})
}

func TestPeerEndIsTheErrorOfWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connPair(t)
		server.CloseWithError(44, "full")
		client.ReadFrame(1)
		err := client.WriteFrames([][]byte{frame("x")})
		ce, ok := errors.AsType[*transport.CloseError](err)
		if !ok || ce.Code != 44 || !strings.Contains(err.Error(), `"full"`) {
			t.Errorf("%v, want code 44", err)
		}
	})
}

// TestLargeFrames go through buffers of their own, pooled or not.
func TestLargeFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connPair(t)
		for _, size := range []int{chunkSize - 1, chunkSize, chunkSize + 1, 1 << 17, 1<<17 + 1, 1 << 20, 1<<20 + 1, 3 << 20, 10} {
			want := strings.Repeat("0123456789abcdefg", size/17+1)[:size]
			go client.WriteFrames([][]byte{frame(want)})
			if p, err := server.ReadFrame(size); err != nil || string(p) != want {
				t.Fatalf("%d bytes: %d, %v", size, len(p), err)
			}
		}
	})
}

func TestAddressesAreNeverNil(t *testing.T) {
	c := newConn(&scriptConn{}, setup{})
	if info := c.Info(); info.LocalAddr == nil || info.RemoteAddr == nil || info.LocalAddr.String() == "" || info.RemoteAddr.Network() == "" {
		t.Errorf("%+v", info)
	}
}
