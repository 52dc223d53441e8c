package payload_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/payload"
)

// message is what the typed edge asks of a type: that the types of this
// package have it is held where they go through roundTrip.
type message[T any] interface {
	*T
	msgp.Marshaler
	msgp.Unmarshaler
	msgp.Sizer
}

// roundTrip encodes value behind something else, decodes it over old, and holds
// that nothing but it was read or written.
func roundTrip[T any, M message[T]](t *testing.T, value, old T) (decoded T) {
	t.Helper()
	b, err := M(&value).MarshalMsg([]byte("before"))
	if err != nil {
		t.Fatalf("%T: %v", value, err)
	}
	// That of JSON is a guess.
	if guess := strings.Contains(fmt.Sprintf("%T", value), "JSON"); !guess && len(b)-len("before") > M(&value).Msgsize() {
		t.Errorf("%#v: %d bytes, and Msgsize says %d", value, len(b)-len("before"), M(&value).Msgsize())
	}
	b, found := bytes.CutPrefix(b, []byte("before"))
	if !found {
		t.Fatalf("%#v: what was in the buffer is gone", value)
	}
	rest, err := M(&old).UnmarshalMsg(append(b, "behind"...))
	if err != nil || string(rest) != "behind" {
		t.Fatalf("%#v: %q left, %v", value, rest, err)
	}
	clear(b) // what was decoded must not be in the message
	return old
}

type disks = payload.Array[payload.Strings, *payload.Strings]

type config struct {
	Name  string
	Peers []string
	Extra any
}

// TestRoundTrip holds that every type arrives as it was sent, nil and empty told
// apart, over whatever was there before.
func TestRoundTrip(t *testing.T) {
	for _, value := range []payload.Bytes{nil, {}, {1}, bytes.Repeat([]byte("x"), 70_000)} {
		for _, old := range []payload.Bytes{nil, {}, []byte("old and longer")} {
			if got := roundTrip(t, value, old); !reflect.DeepEqual(got, value) {
				t.Errorf("Bytes: %#v, want %#v", got, value)
			}
		}
	}
	for _, value := range []payload.Strings{nil, {}, {"": ""}, {"disk": "a", "path": strings.Repeat("ä", 300)}} {
		for _, old := range []payload.Strings{nil, {}, {"disk": "old", "other": "old"}} {
			if got := roundTrip(t, value, old); !reflect.DeepEqual(got, value) {
				t.Errorf("Strings: %#v, want %#v", got, value)
			}
		}
	}
	for _, value := range []payload.Values{nil, {}, {"none": nil, "empty": {}, "one": {"1"}, "two": {"1", ""}}} {
		for _, old := range []payload.Values{nil, {}, {"one": {"old", "older"}, "other": {"old"}}} {
			if got := roundTrip(t, value, old); !reflect.DeepEqual(got, value) {
				t.Errorf("Values: %#v, want %#v", got, value)
			}
		}
	}
	for _, value := range []disks{nil, {}, {nil}, {{}, {"a": "b"}, {"c": "d"}}} {
		for _, old := range []disks{nil, {}, {{"old": "old"}, {"old": "old"}, {}, {}}} {
			if got := roundTrip(t, value, old); !reflect.DeepEqual(got, value) {
				t.Errorf("Array: %#v, want %#v", got, value)
			}
		}
	}
	value := payload.JSON[config]{Value: config{Name: "a", Peers: []string{}, Extra: []any{nil, "x", 1.5}}}
	if got := roundTrip(t, value, payload.JSON[config]{Value: config{Peers: []string{"old"}, Extra: "old"}}); !reflect.DeepEqual(got, value) {
		t.Errorf("JSON: %#v, want %#v", got, value)
	}
	if got := roundTrip(t, payload.JSON[*config]{}, payload.JSON[*config]{Value: &config{}}); got.Value != nil {
		t.Errorf("JSON: %#v, want nil", got.Value)
	}
	roundTrip(t, payload.None{}, payload.None{})
	if got := roundTrip(t, payload.Array[payload.None, *payload.None]{{}, {}}, nil); len(got) != 2 {
		t.Errorf("an Array of None: %#v", got)
	}
}

// TestDecodeIntoItself holds what is kept of a message: nothing, and the memory
// that was there before is used again.
func TestDecodeIntoItself(t *testing.T) {
	b, _ := payload.Bytes("12345").MarshalMsg(nil)
	got := make(payload.Bytes, 3, 64)
	if n := testing.AllocsPerRun(10, func() { _, _ = got.UnmarshalMsg(b) }); n != 0 {
		t.Errorf("Bytes: %g allocations although the memory suffices", n)
	}
	list := payload.Array[payload.None, *payload.None]{{}, {}, {}}
	b, _ = list.MarshalMsg(nil)
	if n := testing.AllocsPerRun(10, func() { _, _ = list.UnmarshalMsg(b) }); n != 0 {
		t.Errorf("Array: %g allocations although the memory suffices", n)
	}
}

// TestHostile feeds every type with hostile messages (D32).
func TestHostile(t *testing.T) {
	bin := payload.Bytes("123")
	coretest.HostileMessages(t, &bin)
	coretest.HostileMessages(t, &payload.Strings{"disk": "a", "path": "b"})
	coretest.HostileMessages(t, &payload.Values{"none": nil, "two": {"1", "2"}})
	coretest.HostileMessages(t, &payload.None{})
	coretest.HostileMessages(t, &payload.JSON[config]{Value: config{Name: "a", Extra: map[string]any{"x": []any{1}}}})
	coretest.HostileMessages(t, &disks{{"a": "b"}, nil})
	coretest.HostileMessages(t, &payload.Array[large, *large]{{}, {}})
	coretest.HostileMessages(t, &payload.Array[disks, *disks]{{{"a": "b"}}})
	coretest.HostileMessages(t, &payload.Array[loose, *loose]{{"a"}, {[]any{"b"}}})
	coretest.HostileMessages(t, &payload.Array[tree, *tree]{{children: []tree{{children: []tree{{}}}}}})
}

// large is an element of which few fit in the memory that a message may take.
type large struct{ _ [4096]byte }

func (*large) Msgsize() int                          { return 1 }
func (*large) MarshalMsg(b []byte) ([]byte, error)   { return msgp.AppendNil(b), nil }
func (*large) UnmarshalMsg(b []byte) ([]byte, error) { return msgp.ReadNilBytes(b) }

// loose is an element that can be anything.
type loose struct{ value any }

func (l *loose) Msgsize() int                        { return msgp.GuessSize(l.value) }
func (l *loose) MarshalMsg(b []byte) ([]byte, error) { return msgp.AppendIntf(b, l.value) }
func (l *loose) UnmarshalMsg(b []byte) (_ []byte, err error) {
	l.value, b, err = msgp.ReadIntfBytes(b)
	return b, err
}

// tree is an element that believes whatever it reads.
type tree struct{ children []tree }

func (n *tree) Msgsize() int { return 5 }

func (n *tree) MarshalMsg(b []byte) (_ []byte, err error) {
	b = msgp.AppendArrayHeader(b, uint32(len(n.children)))
	for i := range n.children {
		if b, err = n.children[i].MarshalMsg(b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (n *tree) UnmarshalMsg(b []byte) ([]byte, error) {
	count, b, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil {
		return nil, err
	}
	n.children = make([]tree, count)
	for i := range n.children {
		if b, err = n.children[i].UnmarshalMsg(b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// sticky is an element that keeps what the message does not have, as generated
// code does.
type sticky struct{ kept bool }

func (*sticky) Msgsize() int                          { return 1 }
func (*sticky) MarshalMsg(b []byte) ([]byte, error)   { return msgp.AppendNil(b), nil }
func (*sticky) UnmarshalMsg(b []byte) ([]byte, error) { return msgp.ReadNilBytes(b) }

// TestElementsStartAtZero holds that nothing of an element that was there before
// shows through.
func TestElementsStartAtZero(t *testing.T) {
	type array = payload.Array[sticky, *sticky]
	if got := roundTrip(t, array{{}}, array{{kept: true}}); got[0].kept {
		t.Error("an element has what the message does not")
	}
}

// TestAnnouncedElementsCostNothing holds that memory is taken for the elements
// that have been decoded, not for those that are still to come, though the bytes
// for them are there.
func TestAnnouncedElementsCostNothing(t *testing.T) {
	const n = 30_000
	wrong := bytes.Repeat([]byte{7}, 2*n)
	for _, test := range []struct {
		into    msgp.Unmarshaler
		message []byte
	}{
		{new(payload.Strings), append(msgp.AppendMapHeader(nil, n), wrong...)},
		{new(payload.Values), append(msgp.AppendMapHeader(nil, n), wrong...)},
		{new(payload.Values), append(append(msgp.AppendMapHeader(nil, 1), 0xa0), append(msgp.AppendArrayHeader(nil, n), wrong...)...)},
		{new(payload.Array[large, *large]), append(msgp.AppendArrayHeader(nil, n), wrong...)},
		{new(disks), append(msgp.AppendArrayHeader(nil, n), wrong...)},
	} {
		var err error
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = test.into.UnmarshalMsg(test.message)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; err == nil || got > 128<<10 {
			t.Errorf("%T: %d bytes allocated before the first element was found to be wrong, %v", test.into, got, err)
		}
	}
}

// TestErrors holds that an error says what is wrong with a message, and of what
// kind it is.
func TestErrors(t *testing.T) {
	many := payload.MaxElements + 1
	for _, test := range []struct {
		into msgp.Unmarshaler
		b    string
		kind error
		want string
	}{
		{new(payload.Bytes), "", msgp.ErrShortBytes, "payload: Bytes: nothing left of the message"},
		{new(payload.Bytes), "\xa1a", msgp.TypeError{Method: msgp.BinType, Encoded: msgp.StrType}, "payload: Bytes: string instead of binary"},
		{new(payload.Bytes), "\xc6\xff\xff\xff\xffab", msgp.ErrShortBytes, "payload: Bytes: 4294967295 bytes announced, 2 left"},
		{new(payload.Bytes), "\xc6\xff", msgp.ErrShortBytes, "payload: Bytes: no value begins with 0xc6ff"},
		{new(payload.Bytes), "\xc1", msgp.InvalidPrefixError(0xc1), "payload: Bytes: no value begins with 0xc1"},
		{new(payload.None), "", msgp.ErrShortBytes, "payload: None: nothing left of the message"},
		{new(payload.None), "\x80", msgp.TypeError{Method: msgp.NilType, Encoded: msgp.MapType}, "payload: None: a value where none is expected"},
		{new(payload.Strings), "\x07", msgp.TypeError{Method: msgp.MapType, Encoded: msgp.IntType}, "payload: Strings: number instead of map"},
		{
			new(payload.Strings), "\xdf\xff\xff\xff\xff1234567", msgp.ErrShortBytes,
			"payload: Strings: 4294967295 elements announced, 7 bytes left",
		},
		{
			new(payload.Strings), "\xdf\x00\x01\x00\x01" + strings.Repeat("\xa0", 2*many), msgp.ErrLimitExceeded,
			"payload: Strings: 65537 elements, at most 65536 fit in one message; send more as a stream",
		},
		{new(payload.Strings), "\x82\xa1a\xa0\xa1a\xa0", msgp.ErrDuplicateEntry, `payload: Strings: the name "a" twice`},
		{new(payload.Strings), "\x81\xa1a\xc0", msgp.TypeError{Method: msgp.StrType, Encoded: msgp.NilType}, "payload: value in Strings: nil instead of string"},
		{new(payload.Strings), "\x81\x01\xa1a", msgp.TypeError{Method: msgp.StrType, Encoded: msgp.IntType}, "payload: name in Strings: number instead of string"},
		{new(payload.Values), "\x82\xa1a\xc0\xa1a\xc0", msgp.ErrDuplicateEntry, `payload: Values: the name "a" twice`},
		{
			new(payload.Values), "\x81\xa1a\xdd\xff\xff\xff\xff123", msgp.ErrShortBytes,
			"payload: list in Values: 4294967295 elements announced, 3 bytes left",
		},
		{
			new(payload.Values), "\x82\xa1a\xdc\xc0\x00" + strings.Repeat("\xa0", 0xc000) + "\xa1b\xdc\xc0\x00" + strings.Repeat("\xa0", 0xc000),
			msgp.ErrLimitExceeded, "payload: Values: 98306 elements, at most 65536 fit in one message; send more as a stream",
		},
		{new(payload.JSON[int]), "\xc4\x011", msgp.TypeError{Method: msgp.StrType, Encoded: msgp.BinType}, "payload: JSON: binary instead of string"},
		{new(payload.JSON[any]), "\xda\x00\xca" + strings.Repeat("[", 101) + strings.Repeat("]", 101), msgp.ErrRecursion, "payload: JSON: nested more than 100 deep"},
		{new(payload.JSON[any]), "\xa31 2", nil, "payload: JSON: invalid character '2' after top-level value"},
		{
			new(disks), "\xdd\x00\x01\x00\x01" + strings.Repeat("\xc0", many), msgp.ErrLimitExceeded,
			"payload: Array: 65537 elements, at most 65536 fit in one message; send more as a stream",
		},
		{new(disks), "\x91" + strings.Repeat("\x91", 100) + "\xc0", msgp.ErrRecursion, "payload: Array of 1: msgp: recursion limit reached"},
		{new(disks), "\x92\xc0\x01", msgp.TypeError{Method: msgp.MapType, Encoded: msgp.IntType}, "payload: Array: element 1 of 2: payload: Strings: number instead of map"},
	} {
		_, err := test.into.UnmarshalMsg([]byte(test.b))
		if err == nil || err.Error() != test.want || test.kind != nil && !errors.Is(err, test.kind) {
			t.Errorf("%T: %.20q: %v\n\twant %s", test.into, test.b, err, test.want)
		}
	}
}

// TestDepth holds that what is just within the limit of depth passes.
func TestDepth(t *testing.T) {
	deep := any("x")
	for range payload.MaxDepth {
		deep = []any{deep}
	}
	if got := roundTrip(t, payload.JSON[any]{Value: deep}, payload.JSON[any]{}); !reflect.DeepEqual(got.Value, deep) {
		t.Error("JSON: what is as deep as allowed did not arrive")
	}
	text := `"[[\"[` + strings.Repeat(`[{`, 1000) + `"`
	var quoted string
	if err := json.Unmarshal([]byte(text), &quoted); err != nil {
		t.Fatal(err)
	}
	if got := roundTrip(t, payload.JSON[string]{Value: quoted}, payload.JSON[string]{}); got.Value != quoted {
		t.Error("JSON: brackets within a string were counted")
	}
}

// TestSenderRefuses holds that what the receiver would refuse fails where it is
// encoded, and that the buffer stays what it was.
func TestSenderRefuses(t *testing.T) {
	many := make(payload.Values)
	for i := range 200 {
		many[strings.Repeat("x", i)] = make([]string, 400)
	}
	names := make(payload.Strings, payload.MaxElements+1)
	for i := range payload.MaxElements + 1 {
		names[string(rune(i/1000))+string(rune(i%1000))] = ""
	}
	deep := any(nil)
	for range payload.MaxDepth + 1 {
		deep = []any{deep}
	}
	for _, test := range []struct {
		value msgp.Marshaler
		kind  error
	}{
		{names, msgp.ErrLimitExceeded},
		{many, msgp.ErrLimitExceeded},
		{make(disks, payload.MaxElements+1), msgp.ErrLimitExceeded},
		{payload.Array[payload.Strings, *payload.Strings]{{}, names}, msgp.ErrLimitExceeded},
		{payload.JSON[any]{Value: deep}, msgp.ErrRecursion},
		{payload.JSON[any]{Value: func() {}}, nil},
	} {
		b, err := test.value.MarshalMsg([]byte("before"))
		if err == nil || test.kind != nil && !errors.Is(err, test.kind) || string(b) != "before" {
			t.Errorf("%T: %.10q, %v; want the buffer and an error %v", test.value, b, err, test.kind)
		}
	}
}

func TestToQuery(t *testing.T) {
	if got, want := (payload.Strings{"b": "2 3", "a": "ä&"}).ToQuery(), "a=%C3%A4%26&b=2+3"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := payload.Strings(nil).ToQuery(); got != "" {
		t.Errorf("%q for nothing", got)
	}
	if got := url.Values(payload.Values{"a": {"1", "2"}}).Get("a"); got != "1" {
		t.Errorf("%q", got)
	}
}
