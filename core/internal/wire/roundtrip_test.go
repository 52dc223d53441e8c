package wire

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/quick"
	"time"
	"unicode/utf8"
)

// same reports whether two payloads are equal, nil and empty told apart.
func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

// one appends a frame behind others and cuts it off again, so that every round
// trip also shows that appending leaves alone what is there.
func one(t *testing.T, appendTo func(dst []byte) []byte) (Frame, any) {
	t.Helper()
	before := AppendPing(nil, TypePong, 99)
	batch := AppendPing(appendTo(bytes.Clone(before)), TypePing, 1)
	if !bytes.HasPrefix(batch, before) {
		t.Fatal("appending changed what was there")
	}
	frames, bodies, err := parseAll(batch)
	if err != nil {
		t.Fatal(err)
	}
	if len(frames) != 3 || bodies[0] != uint64(99) || bodies[2] != uint64(1) {
		t.Fatalf("%d frames, want the one between PONG and PING", len(frames))
	}
	return frames[1], bodies[1]
}

func property(t *testing.T, f any) {
	t.Helper()
	if err := quick.Check(f, nil); err != nil {
		t.Error(err)
	}
}

func TestRoundTripRequest(t *testing.T) {
	prios := []Flags{0, FlagHigh, FlagLow}
	t.Run("W20 whole", func(t *testing.T) {
		property(t, func(id CallID, handler, timeout uint64, prio uint8, isNil bool, p []byte) bool {
			if isNil {
				p = nil
			}
			fl := prios[prio%3]
			f, v := one(t, func(dst []byte) []byte { return AppendRequest(dst, id, handler, timeout, fl, p) })
			want := Request{Handler: handler, Timeout: timeout, Size: uint64(len(p)), Decoded: uint64(len(p)), Payload: p}
			return f.Type == TypeRequest && f.ID == id && f.Flags == fl|nilFlag(p) && reflect.DeepEqual(v, want) && same(v.(Request).Payload, p)
		})
	})
	t.Run("W22 first part", func(t *testing.T) {
		property(t, func(id CallID, handler, timeout uint64, prio uint8, more uint32, p []byte) bool {
			fl, p := prios[prio%3], append(p, 'x')
			size := uint64(len(p)) + uint64(more) + 1
			f, v := one(t, func(dst []byte) []byte { return AppendRequestStart(dst, id, handler, timeout, fl, size, p) })
			want := Request{Handler: handler, Timeout: timeout, Size: size, Decoded: size, Payload: p}
			return f.Type == TypeRequest && f.ID == id && f.Flags == fl|FlagFragmented && reflect.DeepEqual(v, want)
		})
	})
}

func TestRoundTripResponse(t *testing.T) {
	t.Run("W21 whole", func(t *testing.T) {
		property(t, func(id CallID, isNil bool, p []byte) bool {
			if isNil {
				p = nil
			}
			f, v := one(t, func(dst []byte) []byte { return AppendResponse(dst, id, p) })
			want := Response{Size: uint64(len(p)), Decoded: uint64(len(p)), Payload: p}
			return f.Type == TypeResponse && f.ID == id && f.Flags == nilFlag(p) && reflect.DeepEqual(v, want) && same(v.(Response).Payload, p)
		})
	})
	t.Run("W22 first part", func(t *testing.T) {
		property(t, func(id CallID, more uint32, p []byte) bool {
			p = append(p, 'x')
			size := uint64(len(p)) + uint64(more) + 1
			f, v := one(t, func(dst []byte) []byte { return AppendResponseStart(dst, id, size, p) })
			return f.Type == TypeResponse && f.ID == id && reflect.DeepEqual(v, Response{Size: size, Decoded: size, Payload: p})
		})
	})
	t.Run("W23 part", func(t *testing.T) {
		property(t, func(id CallID, p []byte) bool {
			p = append(p, 'x')
			f, _ := one(t, func(dst []byte) []byte { return AppendFragment(dst, id, p) })
			return f.Type == TypeFragment && f.Flags == 0 && f.ID == id && bytes.Equal(f.Body, p)
		})
	})
}

func TestRoundTripStatus(t *testing.T) {
	types := []Type{TypeError, TypeRefused, TypeReset, TypeGoaway, TypeReject}
	t.Run("W31 fields", func(t *testing.T) {
		property(t, func(k uint8, id CallID, code Code, msg string, isNil bool, detail []byte) bool {
			ty := types[int(k)%len(types)]
			if belongsToNoCall(ty) {
				id = 0
			}
			if isNil {
				detail = nil
			}
			f, v := one(t, func(dst []byte) []byte { return AppendStatus(dst, ty, id, Status{code, msg, detail}) })
			s := v.(Status)
			if ty != TypeError && ty != TypeRefused {
				detail = nil
			}
			fits := HeaderSize+len(f.Body) <= StatusSize(Status{code, msg, detail})
			return f.Type == ty && f.ID == id && s.Code == code && s.Message == CutMessage(msg) && same(s.Detail, detail) && fits
		})
	})
	t.Run("W31 detail over the limit is left out", func(t *testing.T) {
		for n, want := range map[int]int{MaxStatusDetail: MaxStatusDetail, MaxStatusDetail + 1: 0} {
			_, v := one(t, func(dst []byte) []byte {
				return AppendStatus(dst, TypeError, 2, Status{Code: 1001, Message: "m", Detail: make([]byte, n)})
			})
			if s := v.(Status); len(s.Detail) != want || s.Code != 1001 || s.Message != "m" {
				t.Errorf("detail of %d bytes: %d arrived, want %d", n, len(s.Detail), want)
			}
		}
	})
	t.Run("W31 size", func(t *testing.T) {
		for _, s := range []Status{
			{},
			{Message: "m", Detail: []byte("d")},
			{Message: strings.Repeat("\xff", 1000)},
			{Message: strings.Repeat("\xff", 1<<20), Detail: make([]byte, 1<<20)},
			{Message: strings.Repeat("m", 1<<20)},
		} {
			n, most := len(AppendStatus(nil, TypeError, 2, s)), HeaderSize+statusHead+MaxStatusMessage+MaxStatusDetail
			if size := StatusSize(s); n > size || size > most {
				t.Errorf("%d bytes appended, StatusSize = %d, at most %d", n, size, most)
			}
		}
	})
	t.Run("W31 the detail is a copy", func(t *testing.T) {
		b := AppendStatus(nil, TypeError, 2, Status{Detail: []byte("detail"), Message: "message"})
		f, _, _ := Next(b)
		s, err := ParseStatus(&f)
		clear(b)
		if err != nil || string(s.Detail) != "detail" || s.Message != "message" {
			t.Errorf("%+v, %v after the batch was overwritten", s, err)
		}
	})
}

func TestCutMessage(t *testing.T) {
	long := strings.Repeat("x", MaxStatusMessage)
	for in, want := range map[string]string{
		"":                      "",
		"ok ä":                  "ok ä",
		long:                    long,
		long + "x":              long,
		long[1:] + "ä":          long[1:],
		long[2:] + "ä" + "x":    long[2:] + "ä",
		"a\xffb":                "a\ufffdb",
		long[1:] + "\xff":       long[1:], // the replacement has three bytes
		long[3:] + "\xff\xff":   long[3:] + "\ufffd",
		"\xed\xa0\x80":          "\ufffd\ufffd\ufffd", // half of a surrogate pair
		long[4:] + "\U0001f600": long[4:] + "\U0001f600",
		long[3:] + "\U0001f600": long[3:],
	} {
		if got := CutMessage(in); got != want {
			t.Errorf("W31: CutMessage(%.20q… of %d) has %d bytes, want %d", in, len(in), len(got), len(want))
		}
	}
	property(t, func(b []byte, times uint8) bool {
		got := CutMessage(strings.Repeat(string(b), int(times)))
		return utf8.ValidString(got) && len(got) <= MaxStatusMessage
	})
}

func TestRoundTripControl(t *testing.T) {
	t.Run("W40", func(t *testing.T) {
		property(t, func(v uint64, pong bool) bool {
			ty := TypePing
			if pong {
				ty = TypePong
			}
			f, got := one(t, func(dst []byte) []byte { return AppendPing(dst, ty, v) })
			return f.Type == ty && f.ID == 0 && got == v
		})
	})
	t.Run("W51", func(t *testing.T) {
		property(t, func(i Init) bool {
			i.MinVersion = min(i.MinVersion, i.MaxVersion)
			f, got := one(t, func(dst []byte) []byte { return AppendInit(dst, &i) })
			return f.Type == TypeInit && f.ID == 0 && got == i
		})
	})
	t.Run("W52", func(t *testing.T) {
		property(t, func(h Hello) bool {
			cut := func(s string, n int) string { return strings.ToValidUTF8(s[:min(n, len(s))], "") }
			h.Cluster, h.From, h.To = cut(h.Cluster, 9), cut(h.From, 9)+"f", cut(h.To, 9)+"t"
			h.MaxFrame, h.MaxMsg, h.Window = max(h.MaxFrame, MinMaxFrame), h.MaxMsg>>1, h.Window%MaxWindow+1
			h.Codecs = h.Codecs[:min(len(h.Codecs), MaxCodecs)]
			for i, c := range h.Codecs {
				h.Codecs[i] = cut(c, MaxCodecName)
			}
			if len(h.Codecs) == 0 {
				h.Codecs = nil
			}
			if len(h.Dicts) == 0 {
				h.Dicts = nil
			}
			f, got := one(t, func(dst []byte) []byte { return AppendHello(dst, &h) })
			return f.Type == TypeHello && f.ID == 0 && reflect.DeepEqual(got, h)
		})
	})
}

// TestHandshakeSizes: W50 the largest HELLO, and the largest REJECT, fit the
// frame that a stranger may send.
func TestHandshakeSizes(t *testing.T) {
	h := largestHello()
	b := AppendHello(nil, h)
	if len(b) > MaxHandshakeFrame {
		t.Errorf("W50: largest HELLO has %d bytes, %d allowed", len(b), MaxHandshakeFrame)
	}
	if _, v := one(t, func(dst []byte) []byte { return append(dst, b...) }); !reflect.DeepEqual(v, *h) {
		t.Errorf("largest HELLO became %+v", v)
	}
	if b := AppendProof(nil, make([]byte, MaxProof)); len(b) > MaxHandshakeFrame {
		t.Errorf("W50: largest PROOF has %d bytes, %d allowed", len(b), MaxHandshakeFrame)
	}
	if b := AppendStatus(nil, TypeReject, 0, Status{Message: strings.Repeat("m", MaxStatusMessage)}); len(b) > MaxHandshakeFrame {
		t.Errorf("W50: largest REJECT has %d bytes, %d allowed", len(b), MaxHandshakeFrame)
	}
	for name, v := range map[string][2]int{
		"nonce": {NonceSize, 32}, "instance id": {InstanceSize, 16}, "digest": {DigestSize, 32},
		"name": {MaxName, 255}, "proof": {MaxProof, 8192}, "frame": {MaxHandshakeFrame, 16 << 10},
	} {
		if v[0] != v[1] {
			t.Errorf("W50: %s of %d bytes, want %d", name, v[0], v[1])
		}
	}
}

// TestMinMaxFrame: W59 the smallest maxframe has room for every frame that
// cannot be cut, behind a checksum, and for a message of 32 KiB in one frame.
func TestMinMaxFrame(t *testing.T) {
	status := AppendStatus(make([]byte, ChecksumSize), TypeError, 2, Status{
		Message: strings.Repeat("m", MaxStatusMessage), Detail: make([]byte, MaxStatusDetail),
	})
	open := raw(TypeOpen, FlagMetadata, 0, 0, 2, make([]byte, openHead), u16(MaxMetadata), bytesOf(MaxMetadata), make([]byte, 32<<10))
	if n := max(len(status), ChecksumSize+len(open)); n > MinMaxFrame {
		t.Errorf("W59: a batch of %d bytes cannot be avoided, the limit may be %d", n, MinMaxFrame)
	}
}

func TestTimeout(t *testing.T) {
	for d, want := range map[time.Duration]uint64{
		math.MinInt64: 0, -1: 0, 0: 0, 1: 1, 999: 1, 1000: 1, 1001: 2, time.Second: 1_000_000,
		math.MaxInt64: math.MaxInt64/1000 + 1,
	} {
		if got := Micros(d); got != want {
			t.Errorf("W24: Micros(%d) = %d, want %d", int64(d), got, want)
		}
	}
	for us, want := range map[uint64]time.Duration{
		0: 0, 1: time.Microsecond, 1_000_000: time.Second,
		math.MaxInt64 / 1000:     math.MaxInt64 / 1000 * 1000,
		math.MaxInt64/1000 + 1:   math.MaxInt64,
		math.MaxUint64:           math.MaxInt64,
		math.MaxUint64/1000 + 10: math.MaxInt64,
	} {
		if got := Duration(us); got != want {
			t.Errorf("W24: Duration(%d) = %d, want %d", us, int64(got), int64(want))
		}
	}
	property(t, func(d time.Duration) bool {
		got := Duration(Micros(d))
		return d <= 0 && got == 0 || d > 0 && got >= d && (got-d < time.Microsecond || got == math.MaxInt64)
	})
	t.Run("W24 is changed in place before writing", func(t *testing.T) {
		for _, b := range [][]byte{
			AppendRequest(nil, goldenID, 1, 2, FlagHigh, []byte("x")),
			AppendRequestStart(nil, goldenID, 1, 2, FlagHigh, 9, []byte("x")),
			AppendOpen(nil, goldenID, 1, 2, 3, FlagHigh, []byte("x")),
			AppendOpenStart(nil, goldenID, 1, 2, 3, FlagHigh, 9, []byte("x")),
		} {
			if got := Timeout(b); got != 2 {
				t.Errorf("Timeout = %d, want 2", got)
			}
			SetTimeout(b, math.MaxUint64)
			_, bodies, err := parseAll(b)
			if err != nil {
				t.Fatal(err)
			}
			switch r := bodies[0].(type) {
			case Request:
				if r.Timeout != math.MaxUint64 || r.Handler != 1 || string(r.Payload) != "x" {
					t.Errorf("%+v after SetTimeout", r)
				}
			case Open:
				if r.Timeout != math.MaxUint64 || r.Handler != 1 || r.Capacity != 3 || string(r.Payload) != "x" {
					t.Errorf("%+v after SetTimeout", r)
				}
			}
		}
	})
}
