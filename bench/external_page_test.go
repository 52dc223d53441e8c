//go:build external && linux

package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

var (
	shots = flag.String("shots", "", "keep pictures of what the browser shows in this `directory`")
	look  = flag.String("page", "", "look at the report in this output `directory`, instead of at one of a short run")
)

// browser is one that a test looks at pages with.
type browser struct {
	context.Context // for chromedp it is the browser

	mu     sync.Mutex
	errors []string // in its console
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	b := &browser{}
	note := func(s string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.errors = append(b.errors, s)
	}
	listen := func(event any) {
		switch e := event.(type) {
		case *log.EventEntryAdded:
			note(fmt.Sprintf("%s: %s (%s)", e.Entry.Level, e.Entry.Text, e.Entry.URL))
		case *runtime.EventConsoleAPICalled:
			note(fmt.Sprintf("console: %v", e.Type))
		case *runtime.EventExceptionThrown:
			note(e.ExceptionDetails.Text)
		}
	}
	// It outlives the context of the test, to be closed in order, which waits for its processes.
	ctx, cancel := chromedp.NewContext(context.WithoutCancel(t.Context()), chromedp.WithListener(listen),
		chromedp.WithAllocatorOptions(chromedp.NoSandbox, chromedp.DisableGPU)) // no sandbox for root
	t.Cleanup(cancel)
	b.Context, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Error(err)
		}
	})
	if _, err := chromedp.Call(b, log.Enable, cdp.Empty{}); err != nil {
		t.Fatalf("%v (is chromium installed?)", err)
	}
	return b
}

// show opens a file at a width, in a colour scheme.
func (b *browser) show(t *testing.T, file string, width int64, scheme string) {
	t.Helper()
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = chromedp.Call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: 800, DeviceScaleFactor: 1, Mobile: width < 700,
	})
	if err == nil {
		_, err = chromedp.Call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
	}
	if err == nil {
		err = chromedp.Do(b, chromedp.Navigate("file://"+path))
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// keep keeps a picture of what is shown, if that is wanted.
func (b *browser) keep(t *testing.T, name string) {
	t.Helper()
	if *shots == "" {
		return
	}
	png, err := chromedp.Run(b, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(*shots, name+".png"), png, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// problems is what is wrong with the page that is shown: what is cut or wider than the page,
// texts that overlap others, and texts that are too faint or too small to read.
const problems = `(() => {
	const out = [], root = document.documentElement, isSVG = root.tagName === 'svg';
	const width = isSVG ? root.getBoundingClientRect().width : root.clientWidth;
	if (!isSVG && root.scrollWidth > width) out.push('the page is ' + root.scrollWidth + ' wide, in a window of ' + width);
	const color = s => {
		const m = s.match(/[\d.]+/g).map(Number);
		return m.length > 3 && m[3] === 0 ? null : m.slice(0, 3);
	};
	const light = c => {
		const [r, g, b] = c.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const contrast = (a, b) => {
		const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
		return (x + 0.05) / (y + 0.05);
	};
	// What is painted behind a text of a picture: the last thing filled there before it.
	const behind = (text, box) => {
		const svg = text.ownerSVGElement, x = (box.left + box.right) / 2, y = (box.top + box.bottom) / 2;
		let found = [255, 255, 255];
		for (const p of svg.querySelectorAll('path, polygon, rect')) {
			if (p.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_PRECEDING) break;
			const b = p.getBoundingClientRect(), fill = getComputedStyle(p).fill;
			if (fill !== 'none' && b.left <= x && b.right >= x && b.top <= y && b.bottom >= y) found = color(fill);
		}
		return found;
	};
	const paper = e => {
		for (; e; e = e.parentElement) {
			const c = color(getComputedStyle(e).backgroundColor);
			if (c) return c;
		}
		return [255, 255, 255];
	};
	const boxes = [];
	const texts = document.createTreeWalker(isSVG ? root : document.body, NodeFilter.SHOW_TEXT);
	while (texts.nextNode()) {
		const node = texts.currentNode, e = node.parentElement, s = node.textContent.trim();
		if (!s || ['STYLE', 'style', 'TITLE', 'title', 'SCRIPT'].includes(e.tagName) || e.closest('thead') && getComputedStyle(e.closest('thead')).position === 'absolute') continue;
		const range = document.createRange();
		range.selectNodeContents(node);
		// Ranges do not know of the width that a text of a picture is squeezed into.
		const svg = e.ownerSVGElement, box = e.getBoundingClientRect();
		for (const b of svg ? [box] : range.getClientRects()) {
			if (b.width === 0) continue;
			if (b.left < -0.5 || b.right > width + 0.5) out.push('cut: ' + s);
			boxes.push({ s, e, left: b.left, right: b.right, top: b.top, bottom: b.bottom });
		}
		if (!svg && e.closest('th, td, p, h1, h2, h3')) {
			for (const word of node.textContent.matchAll(/[\p{L}\p{N}.,]{2,}/gu)) {
				range.setStart(node, word.index);
				range.setEnd(node, word.index + word[0].length);
				if (new Set([...range.getClientRects()].filter(r => r.width > 0).map(r => Math.round(r.top))).size > 1) out.push('broken: ' + word[0]);
			}
		}
		if (svg) {
			const all = svg.getBoundingClientRect();
			if (box.left < all.left - 0.5 || box.right > all.right + 0.5 || box.top < all.top - 2 || box.bottom > all.bottom + 2) out.push('cut: ' + s);
		}
		const style = getComputedStyle(e);
		const ratio = svg ? contrast(color(style.fill), behind(e, box)) : contrast(color(style.color), paper(e));
		if (ratio < 4.5) out.push('contrast ' + ratio.toFixed(1) + ': ' + s);
		const size = parseFloat(style.fontSize) * (svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1);
		if (size < 10.5) out.push('text of ' + size.toFixed(1) + ' pixels: ' + s);
	}
	boxes.sort((a, b) => a.top - b.top);
	for (let i = 0; i < boxes.length; i++) {
		for (let j = i + 1; j < boxes.length && boxes[j].top < boxes[i].bottom; j++) {
			const a = boxes[i], b = boxes[j];
			const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left), high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
			if (a.e !== b.e && wide > 1 && high > 3.5) out.push('"' + a.s + '" and "' + b.s + '" overlap');
		}
	}
	return out;
})()`

// check fails for what is wrong with what is shown.
func (b *browser) check(t *testing.T, what string) {
	t.Helper()
	found, err := chromedp.Run(b, chromedp.Evaluate[[]string](problems))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	for _, f := range found {
		t.Errorf("%s: %s", what, f)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.errors {
		t.Errorf("%s: %s", what, e)
	}
	b.errors = nil
}

// TestPageInBrowser expects the report and each of its pictures to show in a browser, at the
// widths of a desk, of half of one and of a phone, and in both colour schemes, with nothing in the console,
// nothing cut, no words broken, no texts over one another, and all of them large and distinct enough.
func TestPageInBrowser(t *testing.T) {
	dir := *look
	if dir == "" {
		dir = t.TempDir()
		var stdout, stderr strings.Builder
		if code := run(t.Context(), []string{"-quick", "-no-demo", "-rtt", "5ms,20ms", "-loss", "0,2%", "-link-time", "1s", "-out", dir}, &stdout, &stderr); code != exitOK {
			t.Fatalf("exit code %d\n%s%s", code, &stdout, &stderr)
		}
	}
	b := openBrowser(t)
	pictures, err := filepath.Glob(filepath.Join(dir, chartsDir, "*.svg"))
	if err != nil || len(pictures) < 20 {
		t.Fatalf("%d pictures, %v", len(pictures), err)
	}
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 1000, 760, 390} {
			name := fmt.Sprintf("page-%d-%s", width, scheme)
			b.show(t, filepath.Join(dir, pageFile), width, scheme)
			b.keep(t, name)
			b.check(t, name)
			n, err := chromedp.Run(b, chromedp.Evaluate[int](
				"document.scripts.length + performance.getEntriesByType('resource').filter(r => !r.name.startsWith('data:')).length"))
			if err != nil || n > 0 {
				t.Errorf("%s: %d scripts and files loaded, %v; want none", name, n, err)
			}
		}
		for _, picture := range pictures {
			name := strings.TrimSuffix(filepath.Base(picture), ".svg")
			b.show(t, picture, 390, scheme)
			b.check(t, name+", "+scheme)
		}
	}
}

// TestBrowserCheckBites expects what the checks are for to be found.
func TestBrowserCheckBites(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bad.html")
	const bad = `<meta name="viewport" content="width=device-width"><body style="background:#fff"><p style="position:absolute;left:9px;top:50px">over</p><p style="position:absolute;left:12px;top:50px">under</p>
<p style="width:2000px;white-space:nowrap;margin-left:370px">too far to the right</p><p style="color:#ccc">faint</p><p style="font-size:6px">tiny</p>
<svg width="100" height="20" viewBox="0 0 100 20"><text x="60" y="15">beyond a picture</text><text x="30" y="15" textLength="90" lengthAdjust="spacingAndGlyphs">wide</text>
<text x="1" y="15" textLength="20" lengthAdjust="spacingAndGlyphs">squeezed, so that it has room</text></svg>
<table><tr><td style="max-width:30px;overflow-wrap:anywhere">incomprehensibilities</td></tr></table>
<script src="missing.js"></script></body>`
	if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	b := openBrowser(t)
	b.show(t, file, 390, "light")
	found, err := chromedp.Run(b, chromedp.Evaluate[[]string](problems))
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(found, "\n")
	for _, want := range []string{`"over" and "under" overlap`, "cut: too far", "cut: beyond a picture", "cut: wide", "wide, in a window of 390", ": faint", ": tiny", "broken: incomprehensibilities"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not found, only\n%s", want, all)
		}
	}
	if strings.Contains(all, "squeezed") {
		t.Errorf("a text that is squeezed has room, but\n%s", all)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.errors) == 0 {
		t.Error("a file that is missing leaves no error")
	}
}
