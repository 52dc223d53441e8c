package main

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSwapIsOneLine makes the change of transport that the README shows, in a
// copy of the quick start, and runs it: the output is the same.
func TestSwapIsOneLine(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	diff := regexp.MustCompile("(?s)```diff\n-(.*?)\n\\+(.*?)\n```").FindSubmatch(readme)
	if diff == nil {
		t.Fatal("the README shows no change of one line as a diff")
	}
	main, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	from, to := string(diff[1]), string(diff[2])
	if n := strings.Count(string(main), from+"\n"); n != 1 {
		t.Fatalf("the line that the README removes stands in the quick start %d times:\n%s", n, from)
	}
	swapped := strings.Replace(string(main), from, to, 1)
	swapped = strings.Replace(swapped, "transport/inmem", "transport/websocket", 1)
	for _, addr := range []string{"127.0.0.1:9001", "127.0.0.1:9002"} {
		swapped = strings.Replace(swapped, addr, freeAddr(t), 1)
	}

	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(changed, []byte(swapped), 0o600); err != nil {
		t.Fatal(err)
	}
	original, err := filepath.Abs("main.go")
	if err != nil {
		t.Fatal(err)
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, replace, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "run", "-overlay", overlay, ".").CombinedOutput()
	const want = "hello b, I am b <nil>\nhello a, I am a <nil>\n"
	if err != nil || string(out) != want {
		t.Fatalf("over websocket the quick start prints\n%s(%v), want\n%s", out, err, want)
	}
}

// freeAddr returns an address that nothing listens on, since the ones of the
// quick start may be in use here.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
