package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
)

func TestCallID(t *testing.T) {
	for _, gen := range []uint32{0, 1, 1<<31 + 1, math.MaxUint32} {
		for _, slot := range []uint32{0, 1, 1<<30 + 1, 1<<31 - 1} {
			for side := range uint8(2) {
				id := MakeCallID(gen, slot, side)
				if id.Generation() != gen || id.Slot() != slot || id.Side() != side {
					t.Errorf("W11: %d.%d/%d became %v", slot, gen, side, id)
				}
				if want := uint64(gen)*(1<<32) + uint64(slot)*2 + uint64(side); uint64(id) != want {
					t.Errorf("W11: %v is %#x, want %#x", id, uint64(id), want)
				}
			}
		}
	}
	if got := MakeCallID(7, 3, 1).String(); got != "3.7/1" {
		t.Errorf("String = %q, want 3.7/1", got)
	}
}

// TestNextBorrows: a body is a slice of the batch that cannot grow into the next
// frame.
func TestNextBorrows(t *testing.T) {
	batch := AppendFragment(AppendFragment(nil, 2, []byte("one")), 2, []byte("two"))
	f, rest, err := Next(batch)
	if err != nil {
		t.Fatal(err)
	}
	if &f.Body[0] != &batch[HeaderSize] || &rest[0] != &batch[HeaderSize+3] {
		t.Error("Next copied")
	}
	_ = append(f.Body, "overwritten"...)
	if f, _, err = Next(rest); err != nil || string(f.Body) != "two" {
		t.Errorf("second frame is %q, %v after the first was appended to", f.Body, err)
	}
}

// TestMetadataBorrows: nor can metadata grow into the payload.
func TestMetadataBorrows(t *testing.T) {
	f, _, err := Next(raw(TypeResponse, FlagMetadata, 0, 0, 2, u16(4), []byte("metapayload")))
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseResponse(&f)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(r.Metadata, "overwritten"...)
	if string(r.Metadata) != "meta" || string(r.Payload) != "payload" {
		t.Errorf("metadata %q, payload %q after the metadata was appended to", r.Metadata, r.Payload)
	}
}

// TestNextError: what fails brings nothing along that could be taken for a frame.
func TestNextError(t *testing.T) {
	for _, b := range [][]byte{{1}, raw(TypePing, FlagNil, 0, 0, 0, u64(1)), raw(TypePing, 0, 0, 0, 0, u64(1))[:20]} {
		f, rest, err := Next(b)
		if !errors.Is(err, ErrMalformed) || rest != nil || f.Body != nil || f.Type != 0 {
			t.Errorf("Next = %+v, % x, %v", f, rest, err)
		}
	}
}

// TestPad: W14 every frame can be taken back in place, and what stands around it
// is not touched.
func TestPad(t *testing.T) {
	for _, vectors := range [][]vector{requestVectors(), responseVectors(), statusVectors(), openVectors(), streamVectors()} {
		for _, v := range vectors {
			batch := AppendPing(nil, TypePing, 1)
			at := len(batch)
			batch = AppendPing(append(batch, v.data...), TypePong, 2)
			Pad(batch[at:])
			frames, bodies, err := parseAll(batch)
			if err != nil {
				t.Fatalf("%s: %v", v.name, err)
			}
			want := Frame{Type: TypePadding, Body: v.data[HeaderSize:]}
			if got := frames[1]; got.Type != want.Type || got.Flags != 0 || got.Codec|got.Dict != 0 || got.ID != 0 || !bytes.Equal(got.Body, want.Body) {
				t.Errorf("%s became %+v", v.name, got)
			}
			if bodies[0] != uint64(1) || bodies[2] != uint64(2) {
				t.Errorf("%s: Pad changed its neighbours", v.name)
			}
		}
	}
}

// TestPeekType walks frames that this package appended.
func TestPeekType(t *testing.T) {
	for file, vectors := range goldenFiles() {
		if file == "exchange" {
			continue
		}
		for _, v := range vectors {
			ty, n := PeekType(append(slices.Clip(v.data), "more"...))
			if byte(ty) != v.data[4] || n != len(v.data) {
				t.Errorf("%s: PeekType = %v, %d, want %v, %d", v.name, ty, n, Type(v.data[4]), len(v.data))
			}
		}
	}
}

// TestOverheads: the constants that senders reckon with are what frames have.
func TestOverheads(t *testing.T) {
	p := []byte("x")
	if n := len(InsertAccept(AppendRequestStart(nil, 2, 1, 0, FlagHigh, 9, p), 0, Accept{Said: true})) - 1; n != RequestOverhead {
		t.Errorf("REQUEST adds %d bytes, RequestOverhead is %d", n, RequestOverhead)
	}
	if n := len(AppendRequest(nil, 2, 1, 0, 0, p)) - 1; n > RequestOverhead {
		t.Errorf("REQUEST adds %d bytes, RequestOverhead is %d", n, RequestOverhead)
	}
	if n := len(InsertAccept(AppendOpenStart(nil, 2, 1, 0, 1, FlagHigh, 9, p), 0, Accept{Said: true})) - 1; n != OpenOverhead {
		t.Errorf("OPEN adds %d bytes, OpenOverhead is %d", n, OpenOverhead)
	}
	if n := len(AppendOpen(nil, 2, 1, 0, 1, 0, p)) - 1; n > OpenOverhead {
		t.Errorf("OPEN adds %d bytes, OpenOverhead is %d", n, OpenOverhead)
	}
	if n := len(AppendDataStart(nil, 2, 9, p)) - 1; n > OpenOverhead {
		t.Errorf("DATA adds %d bytes, more than an OPEN with its %d", n, OpenOverhead)
	}
	if n := len(AppendFragment(nil, 2, p)) - 1; n != FragmentOverhead {
		t.Errorf("FRAGMENT adds %d bytes, FragmentOverhead is %d", n, FragmentOverhead)
	}
}

// TestTypes: W12 the names, which types are skipped when they are not known, and
// that those beside the table are not known.
func TestTypes(t *testing.T) {
	for i := range 256 {
		ty := Type(i)
		if ty.Ignorable() != (i >= 0x80) {
			t.Errorf("W12: Ignorable(%v) = %v", ty, ty.Ignorable())
		}
	}
	for _, ty := range knownTypes {
		if ty.Ignorable() || ty.String() == fmt.Sprintf("TYPE(%#02x)", uint8(ty)) {
			t.Errorf("W12: type %v has no name, or can be ignored", ty)
		}
	}
	for _, ty := range []Type{0x0d, 0x0f, 0x17, 0x1f, 0x24, 0x7f, 0x80, 0xff} {
		if want := fmt.Sprintf("TYPE(%#02x)", uint8(ty)); ty.String() != want {
			t.Errorf("W12: unknown type is called %v, want %s", ty, want)
		}
	}
}

// TestPaced: W44 the bodies that count are those of DATA and FRAGMENT, and of the
// first part of a request, a response or a stream's initial payload. What is
// skipped counts on neither side, whatever flags it has.
func TestPaced(t *testing.T) {
	for i := range 256 {
		ty := Type(i)
		for _, fl := range []Flags{0, FlagHigh, FlagMetadata, FlagFragmented, FlagFragmented | FlagMetadata, 0xff} {
			var want bool
			switch ty {
			case TypeData, TypeFragment:
				want = true
			case TypeRequest, TypeResponse, TypeOpen:
				want = fl&FlagFragmented != 0
			default:
			}
			if f := (Frame{Type: ty, Flags: fl}); f.Paced() != want {
				t.Errorf("W44: %v with flags %s counts: %v, want %v", ty, flagNames(fl), f.Paced(), want)
			}
		}
	}
}

// TestFeatures: W53 the numbers of the bits.
func TestFeatures(t *testing.T) {
	if FeatureChecksum != 1 {
		t.Errorf("W53: FeatureChecksum = %#x, want 1", uint64(FeatureChecksum))
	}
	_, v := one(t, func(dst []byte) []byte { return append(dst, helloWith(map[string]any{"feat": uint64(1)<<63 | 1})...) })
	if h := v.(Hello); h.Features != 1<<63|FeatureChecksum {
		t.Errorf("W53: unknown bits changed features to %#x", uint64(h.Features))
	}
}
