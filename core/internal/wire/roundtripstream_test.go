package wire

import (
	"reflect"
	"testing"
)

// TestRoundTripOpen: W80 what a caller opens a stream with arrives, whole or as
// the first part.
func TestRoundTripOpen(t *testing.T) {
	prios := []Flags{0, FlagHigh, FlagLow}
	t.Run("W80 whole", func(t *testing.T) {
		property(t, func(id CallID, handler, timeout uint64, capacity uint32, prio uint8, isNil bool, p []byte) bool {
			if isNil {
				p = nil
			}
			fl, capacity := prios[prio%3], capacity%MaxCapacity+1
			f, v := one(t, func(dst []byte) []byte { return AppendOpen(dst, id, handler, timeout, capacity, fl, p) })
			want := Open{Handler: handler, Timeout: timeout, Capacity: capacity, Size: uint64(len(p)), Decoded: uint64(len(p)), Payload: p}
			return f.Type == TypeOpen && f.ID == id && f.Flags == fl|nilFlag(p) && reflect.DeepEqual(v, want) && same(v.(Open).Payload, p)
		})
	})
	t.Run("W22 first part", func(t *testing.T) {
		property(t, func(id CallID, handler, timeout uint64, capacity uint32, prio uint8, more uint32, p []byte) bool {
			fl, capacity, p := prios[prio%3], capacity%MaxCapacity+1, append(p, 'x')
			size := uint64(len(p)) + uint64(more) + 1
			f, v := one(t, func(dst []byte) []byte { return AppendOpenStart(dst, id, handler, timeout, capacity, fl, size, p) })
			want := Open{Handler: handler, Timeout: timeout, Capacity: capacity, Size: size, Decoded: size, Payload: p}
			return f.Type == TypeOpen && f.ID == id && f.Flags == fl|FlagFragmented && reflect.DeepEqual(v, want)
		})
	})
}

// TestRoundTripData: W81 a message of a stream arrives, whole or as the first
// part, and is never nil.
func TestRoundTripData(t *testing.T) {
	t.Run("W81 whole", func(t *testing.T) {
		property(t, func(id CallID, p []byte) bool {
			f, v := one(t, func(dst []byte) []byte { return AppendData(dst, id, p) })
			n := uint64(len(p))
			return f.Type == TypeData && f.ID == id && f.Flags == 0 && reflect.DeepEqual(v, Data{n, n, append([]byte{}, p...)})
		})
	})
	t.Run("W81 empty", func(t *testing.T) {
		_, v := one(t, func(dst []byte) []byte { return AppendData(dst, 2, nil) })
		if d := v.(Data); d.Payload == nil || d.Size != 0 {
			t.Errorf("an empty message became %+v, want one of no bytes that is not nil", d)
		}
	})
	t.Run("W22 first part", func(t *testing.T) {
		property(t, func(id CallID, more uint32, p []byte) bool {
			p = append(p, 'x')
			size := uint64(len(p)) + uint64(more) + 1
			f, v := one(t, func(dst []byte) []byte { return AppendDataStart(dst, id, size, p) })
			return f.Type == TypeData && f.ID == id && f.Flags == FlagFragmented && reflect.DeepEqual(v, Data{size, size, p})
		})
	})
}

// TestRoundTripFlow: the frames that pace a sender carry every value.
func TestRoundTripFlow(t *testing.T) {
	t.Run("W44", func(t *testing.T) {
		property(t, func(total uint64) bool {
			f, v := one(t, func(dst []byte) []byte { return AppendAck(dst, total) })
			return f.Type == TypeAck && f.ID == 0 && v == total
		})
	})
	t.Run("W91", func(t *testing.T) {
		property(t, func(opened uint64) bool {
			f, v := one(t, func(dst []byte) []byte { return AppendLanes(dst, opened) })
			return f.Type == TypeLanes && f.ID == 0 && v == opened
		})
	})
	t.Run("W83", func(t *testing.T) {
		property(t, func(id CallID, messages, bytes uint32, zero bool) bool {
			if zero {
				messages = 0
			}
			bytes |= 1
			f, v := one(t, func(dst []byte) []byte { return AppendCredit(dst, id, messages, bytes) })
			return f.Type == TypeCredit && f.ID == id && v == credit{messages, bytes}
		})
	})
	t.Run("W45 W82", func(t *testing.T) {
		property(t, func(id CallID) bool {
			end, _ := one(t, func(dst []byte) []byte { return AppendEnd(dst, id) })
			grant, _ := one(t, func(dst []byte) []byte { return AppendGrant(dst, id) })
			return end.Type == TypeEnd && end.ID == id && len(end.Body) == 0 &&
				grant.Type == TypeGrant && grant.ID == id && len(grant.Body) == 0
		})
	})
}

// TestHelloWindow: W52 W59 a HELLO without a window announces 64 KiB, and any
// other window arrives as it is.
func TestHelloWindow(t *testing.T) {
	for name, c := range map[string]struct {
		set  any
		want uint64
	}{
		"absent": {nil, 65536}, "smallest": {uint64(1), 1}, "half": {uint64(32768), 32768}, "largest": {uint64(1 << 30), 1 << 30},
	} {
		_, v := one(t, func(dst []byte) []byte { return append(dst, helloWith(map[string]any{"win": c.set})...) })
		if h := v.(Hello); h.Window != c.want {
			t.Errorf("W52: %s window is %d, want %d", name, h.Window, c.want)
		}
	}
}
