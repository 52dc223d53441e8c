package payload_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/gridmux/gridmux/core/payload"
)

// shown is what a logger shows of a message.
func shown(value any) string {
	var b bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key != "request" {
			return slog.Attr{}
		}
		return a
	}}))
	logger.Info("call", "request", value)
	return strings.TrimSpace(b.String())
}

type secret struct{ Key string }

func (secret) LogValue() slog.Value { return slog.StringValue("(a secret)") }

// TestLogValue holds what logs show of each type, by value and by pointer.
func TestLogValue(t *testing.T) {
	var list payload.Array[payload.Strings, *payload.Strings]
	for i := range 6 {
		list = append(list, payload.Strings{"disk": fmt.Sprint(i)})
	}
	bin, values := payload.Bytes("abc"), payload.Values{"a": {"1", "2", "3"}, "b": {}, "c": nil, "d": {"x"}}
	for _, test := range []struct {
		value any
		want  string
	}{
		{bin, "request.size=3"},
		{&bin, "request.size=3"},
		{payload.Bytes(nil), "request=<nil>"},
		{payload.Bytes{}, "request.size=0"},
		{payload.None{}, "request=none"},
		{&payload.Strings{"path": "a b", "disk": "d1"}, `request.disk=d1 request.path="a b"`},
		{payload.Strings{}, "request=map[]"},
		{&values, `request.a="1 (+2)" request.b=[] request.c=[] request.d=x`},
		{payload.Values{}, "request=map[]"},
		{&payload.JSON[config]{Value: config{Name: "n"}}, `request="{\"Name\":\"n\",\"Peers\":null,\"Extra\":null}"`},
		{payload.JSON[secret]{Value: secret{"k"}}, `request="(a secret)"`},
		{payload.JSON[any]{Value: func() {}}, `request="json: unsupported type: func()"`},
		{&list, "request.len=6 request.0.disk=0 request.1.disk=1 request.2.disk=2 request.3.disk=3"},
		{payload.Array[large, *large]{{}}, "request.len=1"},
		{payload.Array[large, *large](nil), "request=<nil>"},
	} {
		if got := shown(test.value); got != test.want {
			t.Errorf("%#v:\n\tshows %s\n\twant  %s", test.value, got, test.want)
		}
	}
}

// TestLogValueIsBounded holds that a log line stays a line whatever a peer
// sends (D29).
func TestLogValueIsBounded(t *testing.T) {
	long := strings.Repeat("ä", 100_000)
	names, values := make(payload.Strings), make(payload.Values)
	var list payload.Array[payload.Strings, *payload.Strings]
	for i := range 1000 {
		names[fmt.Sprint(i, long)] = long
		values[fmt.Sprint(i, long)] = []string{long, long}
	}
	for range 1000 {
		list = append(list, names)
	}
	for _, value := range []any{payload.Bytes(long), names, values, list, payload.JSON[payload.Strings]{Value: names}, payload.JSON[string]{Value: long}} {
		if got := shown(value); len(got) > 32<<10 || strings.Contains(got, `\x`) {
			t.Errorf("%T: %d bytes: %.300s", value, len(got), got)
		}
	}
	if got := shown(names); !strings.Contains(got, "(+984)") {
		t.Errorf("what is left out is not said: %.300s", got)
	}
}

// TestLogValueCostsNothing holds that a message that is not logged is not looked
// at.
func TestLogValueCostsNothing(t *testing.T) {
	logger := slog.New(slog.NewTextHandler(new(bytes.Buffer), &slog.HandlerOptions{Level: slog.LevelInfo}))
	req := &payload.Strings{"disk": "d1"}
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() { logger.LogAttrs(ctx, slog.LevelDebug, "call", slog.Any("request", req)) }); n != 0 {
		t.Errorf("%g allocations below the logger's level", n)
	}
}
