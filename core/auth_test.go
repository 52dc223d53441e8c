package core

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func anyKey(string) (ed25519.PublicKey, bool) { return nil, false }

// TestBadKeys refuses keys that prove nothing, before anything is started, and
// names the remedy.
func TestBadKeys(t *testing.T) {
	private := ed25519.NewKeyFromSeed(make([]byte, 32))
	for _, test := range []struct {
		name  string
		auth  Authenticator
		texts []string
	}{
		{"no key", SharedKey(), []string{"Config.Auth", "no key", "at least one"}},
		{"a nil key", SharedKey(nil), []string{"Config.Auth", "key 1", "0 bytes", "16 random"}},
		{"a short key", SharedKey(make([]byte, 15)), []string{"key 1", "15 bytes", "16 random"}},
		{"a short key behind a good one", SharedKey(make([]byte, 16), make([]byte, 3)), []string{"key 2", "3 bytes"}},
		{"no private key", NodeKeys(nil, anyKey), []string{"Config.Auth", "private key", "0 bytes", "ed25519.GenerateKey", "64"}},
		{"a seed for a private key", NodeKeys(private[:32], anyKey), []string{"32 bytes", "64"}},
		{"a long private key", NodeKeys(append(private, 0), anyKey), []string{"65 bytes", "64"}},
		{"no lookup", NodeKeys(private, nil), []string{"lookup", "nil", "public key"}},
	} {
		cfg := sound()
		cfg.Auth = test.auth
		m, err := NewManager(cfg)
		if m != nil || err == nil {
			t.Errorf("%s: NewManager returned a Manager, error %v", test.name, err)
			continue
		}
		mentions(t, test.name, err, test.texts...)
	}
	for name, auth := range map[string]Authenticator{
		"one key": SharedKey(make([]byte, 16)), "three keys": SharedKey(make([]byte, 16), make([]byte, 32), make([]byte, 100)),
		"node keys": NodeKeys(private, anyKey),
	} {
		cfg := sound()
		cfg.Auth = auth
		if m := mustManager(t, cfg); m == nil {
			t.Errorf("%s: no Manager", name)
		}
	}
}

// TestKeysAreCopied changes the memory that keys were given in. They are the
// same as before.
func TestKeysAreCopied(t *testing.T) {
	key, private := []byte("sixteen bytes or"), ed25519.NewKeyFromSeed(make([]byte, 32))
	public := bytes.Clone(private[32:])
	for name, auth := range map[string]Authenticator{
		"SharedKey": SharedKey(key), "NodeKeys": NodeKeys(private, func(string) (ed25519.PublicKey, bool) { return public, true }),
	} {
		before, err := auth.Prove(t.Context(), "b", []byte("said"))
		if err != nil {
			t.Fatalf("%s: Prove failed: %v", name, err)
		}
		clear(key)
		clear(private)
		after, err := auth.Prove(t.Context(), "b", []byte("said"))
		if err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: the key changed with the memory that it was given in: %v", name, err)
		}
		if id, err := auth.Verify(t.Context(), "a", []byte("said"), before); err != nil || id.Name != "a" {
			t.Errorf("%s: a proof from before is worth %+v, %v", name, id, err)
		}
	}
}

// TestSecretsAreNotPrinted prints and logs whatever holds a key in every way
// that there is (T20).
func TestSecretsAreNotPrinted(t *testing.T) {
	key := []byte("SECRET-shared-key-of-many-bytes")
	private := ed25519.NewKeyFromSeed([]byte("SECRET-ed25519-seed-of-32-bytes!"))
	for name, auth := range map[string]Authenticator{"SharedKey": SharedKey(key, key), "NodeKeys": NodeKeys(private, anyKey)} {
		cfg := sound()
		cfg.Auth = auth
		m := mustManager(t, cfg)
		var out strings.Builder
		holders := []any{auth, &auth, cfg, &cfg, m, *new(Manager), struct{ A Authenticator }{auth}, []Authenticator{auth}, map[string]any{"k": auth}, fmt.Errorf("failed with %v", auth)}
		for _, v := range holders {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U", "%t", "%p", "% x", "%#x", "%64v"} {
				fmt.Fprintf(&out, verb+"\n", v)
			}
			for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
				slog.New(h).Info("config", "v", v)
			}
			if b, err := json.Marshal(v); err == nil {
				out.Write(b)
			}
		}
		text := strings.ToLower(out.String())
		for _, secret := range [][]byte{key[:8], key[8:], private[:8], private[24:32]} {
			for _, form := range []string{
				string(secret), hex.EncodeToString(secret), base64.StdEncoding.EncodeToString(secret[:6]),
				strings.Trim(fmt.Sprintf("%d", secret), "[]"), strings.Trim(fmt.Sprintf("%#v", secret), "[]byte{}"), fmt.Sprintf("% x", secret),
				strings.Trim(fmt.Sprintf("%b", secret), "[]"), strings.Trim(fmt.Sprintf("%o", secret), "[]"),
			} {
				if i := strings.Index(text, strings.ToLower(form)); i >= 0 {
					t.Errorf("%s: the key is printed: %q", name, text[max(0, i-60):i+len(form)])
				}
			}
		}
		if !strings.Contains(out.String(), name+"(") {
			t.Errorf("%s: what is printed does not say what it is: %.200s", name, out.String())
		}
	}
}

// TestNodeKeysSayWhatIsWrong holds Verify to an error that tells the three
// causes apart, for the log of the node.
func TestNodeKeysSayWhatIsWrong(t *testing.T) {
	private := ed25519.NewKeyFromSeed(make([]byte, 32))
	keys := map[string]ed25519.PublicKey{"a": private.Public().(ed25519.PublicKey), "short": make([]byte, 5), "none": nil}
	auth := NodeKeys(private, func(name string) (ed25519.PublicKey, bool) { k, ok := keys[name]; return k, ok })
	proof, err := auth.Prove(t.Context(), "b", []byte("said"))
	if err != nil {
		t.Fatal(err)
	}
	if id, err := auth.Verify(t.Context(), "a", []byte("said"), proof); err != nil || id != (Identity{Name: "a", Method: "node key"}) {
		t.Errorf("a good proof is worth %+v, %v", id, err)
	}
	for name, text := range map[string]string{
		"a": "not signed with the private key", "short": "5 bytes", "none": "0 bytes", "unknown": "no public key is known",
	} {
		id, err := auth.Verify(t.Context(), name, []byte("not said"), proof)
		if id != (Identity{}) {
			t.Errorf("%s: a wrong proof is worth %+v", name, id)
		}
		mentions(t, name, err, text, name)
	}
}

// TestAuthenticatorsMisbehave holds that a method of an Authenticator that does
// not return properly ends nothing but the attempt, and no later than that.
func TestAuthenticatorsMisbehave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		failed := errors.New("no key today")
		for name, test := range map[string]struct {
			f    func() (int, error)
			text string
		}{
			"an error":       {func() (int, error) { return 7, failed }, "no key today"},
			"a panic":        {func() (int, error) { panic("boom") }, "panicked: boom"},
			"a nil panic":    {func() (int, error) { panic(nil) }, "panicked"}, //nolint:govet // That is the case.
			"runtime.Goexit": {func() (int, error) { runtime.Goexit(); return 0, nil }, "did not return"},
			"no end":         {func() (int, error) { <-stuck; return 7, nil }, context.DeadlineExceeded.Error()},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			began := time.Now()
			_, err := authenticate(ctx, test.f)
			cancel()
			mentions(t, name, err, test.text)
			if d := time.Since(began); d > time.Second {
				t.Errorf("%s: the attempt ended after %v, want a second at most", name, d)
			}
		}
		close(stuck)
		if v, err := authenticate(t.Context(), func() (int, error) { return 7, nil }); v != 7 || err != nil {
			t.Errorf("a method that returns gives %d, %v", v, err)
		}
	})
}
