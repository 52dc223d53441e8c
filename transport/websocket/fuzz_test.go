package websocket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/gridmux/gridmux/transport"
)

// scriptConn is a link that delivers bytes in pieces of a given size and
// swallows what is written.
type scriptConn struct {
	in    []byte
	piece int
}

func (s *scriptConn) Read(p []byte) (int, error) {
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.in[:min(len(s.in), s.piece)])
	s.in = s.in[n:]
	return n, nil
}

func (*scriptConn) Write(p []byte) (int, error)      { return len(p), nil }
func (*scriptConn) Close() error                     { return nil }
func (*scriptConn) LocalAddr() net.Addr              { return nil }
func (*scriptConn) RemoteAddr() net.Addr             { return nil }
func (*scriptConn) SetDeadline(time.Time) error      { return nil }
func (*scriptConn) SetReadDeadline(time.Time) error  { return nil }
func (*scriptConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzReadFrame feeds arbitrary bytes to both roles, cut into pieces in several
// ways, behind a legal frame of lead bytes that moves them across the read
// buffer, and compares with a plain decoder made of the library's. Buffers
// beyond what the limit explains are failures.
func FuzzReadFrame(f *testing.F) {
	for _, seed := range [][]byte{
		masked(ws.NewBinaryFrame([]byte("hello"))),
		plain(ws.NewBinaryFrame([]byte("hello"))),
		join(fragment(ws.OpBinary, false, "hel"), masked(ws.NewPingFrame([]byte("p"))), fragment(ws.OpContinuation, true, "lo")),
		join(masked(ws.NewBinaryFrame(bytes.Repeat([]byte("x"), 300))), masked(closeFrame(4005, "bye"))),
		join(plain(ws.NewBinaryFrame(nil)), plain(closeFrame(1000, "bye"))),
		binary.BigEndian.AppendUint64([]byte{0x82, 0xff}, 1<<63-1),
		binary.BigEndian.AppendUint64([]byte{0x82, 0xff}, 1<<20),
	} {
		f.Add(seed, uint32(0), uint16(1), uint32(1<<20))
		f.Add(seed, uint32(40_000), uint16(30_000), uint32(50_000))
		f.Add(seed, uint32(65_520), uint16(65535), uint32(70_000))
		f.Add(seed, uint32(100_000), uint16(65535), uint32(100_000))
	}
	f.Fuzz(func(t *testing.T, tail []byte, lead uint32, piece uint16, limit uint32) {
		limit = limit%(1<<21) + 1
		leading := ws.NewBinaryFrame(make([]byte, lead%(1<<17)))
		for _, client := range []bool{true, false} {
			encode := masked
			if client {
				encode = plain
			}
			in := append(encode(leading), tail...)
			want, wantEnd := decode(in, client, int(limit))
			for _, early := range []int{0, len(in) / 2} {
				c := newConn(&scriptConn{in: in[early:], piece: int(piece) + 1},
					setup{client: client, early: bytes.Clone(in[:early])})
				for i := 0; ; i++ {
					p, err := c.ReadFrame(int(limit))
					if err != nil {
						if i != len(want) {
							t.Fatalf("client %v, early %d: %d messages, then %v; want %d, then %v", client, early, i, err, len(want), wantEnd)
						}
						if !wantEnd.matches(err) {
							t.Fatalf("client %v, early %d: the end is %v, want %v", client, early, err, wantEnd)
						}
						break
					}
					if i >= len(want) || !bytes.Equal(p, want[i]) {
						t.Fatalf("client %v, early %d: message %d is %q", client, early, i, p)
					}
					if c.in.big != nil && len(c.in.big.B) > max(2*int(limit), chunkSize) {
						t.Fatalf("a buffer of %d bytes for a limit of %d", len(c.in.big.B), limit)
					}
				}
				if c.in.chunk != nil || c.in.big != nil {
					t.Fatal("a buffer is kept after the end")
				}
				c.CloseWithError(0, "")
			}
		}
	})
}

type ending struct {
	cut       bool          // the link ended
	closed    bool          // a close frame
	violation ws.StatusCode // or this
}

func (e ending) matches(err error) bool {
	_, closed := errors.AsType[*transport.CloseError](err)
	v := asViolation(err)
	switch {
	case e.cut:
		return errors.Is(err, io.ErrUnexpectedEOF) && v == nil
	case e.closed:
		return closed
	}
	return v != nil && v.code == e.violation
}

// decode is what ReadFrame does, written for brevity on the library's decoder.
func decode(in []byte, client bool, limit int) (messages [][]byte, end ending) {
	r := bytes.NewReader(in)
	var message []byte
	fragments := 0
	for {
		head := in[len(in)-r.Len():]
		h, err := ws.ReadHeader(r)
		// Two bytes tell most; the library wants the whole header.
		if len(head) < 2 {
			return messages, ending{cut: true}
		}
		short := head[1] & 0x7f
		masked := head[1]&0x80 != 0
		fin, op := head[0]&0x80 != 0, ws.OpCode(head[0]&0xf)
		switch {
		case head[0]&0x70 != 0, op.IsReserved(), masked == client,
			op.IsControl() && (!fin || short > 125):
			return messages, ending{violation: 1002}
		case op == ws.OpText:
			return messages, ending{violation: 1003}
		case err == ws.ErrHeaderLengthMSB:
			return messages, ending{violation: 1002}
		case err != nil:
			return messages, ending{cut: true}
		case short == 126 && h.Length < 126, short == 127 && h.Length < 1<<16:
			return messages, ending{violation: 1002}
		}
		if !op.IsControl() {
			switch {
			case (op == ws.OpContinuation) != (fragments > 0):
				return messages, ending{violation: 1002}
			case uint64(len(message))+uint64(h.Length) > uint64(limit):
				return messages, ending{violation: 1009}
			case !fin || fragments > 0:
				fragments++
				if fragments > maxFragments {
					return messages, ending{violation: 1008}
				}
			}
		}
		p := make([]byte, min(h.Length, int64(r.Len())))
		io.ReadFull(r, p)
		if int64(len(p)) < h.Length {
			return messages, ending{cut: true}
		}
		if h.Masked {
			ws.Cipher(p, h.Mask, 0)
		}
		if op == ws.OpClose {
			if _, v := parseClose(p); v != nil {
				return messages, ending{violation: v.code}
			}
			return messages, ending{closed: true}
		}
		if op.IsControl() {
			continue
		}
		message = append(message, p...)
		if fin {
			messages = append(messages, message)
			message, fragments = nil, 0
		}
	}
}
