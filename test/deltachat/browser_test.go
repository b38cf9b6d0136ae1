package deltachat

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"image"
	_ "image/png" // what a browser draws
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"barid/test/harness"
)

// A person opens the relay's page and scans what is on the screen; another one
// has the page that needs no script, narrow, dark and in Persian. The two talk
// then, and a third one scans the code that is for printing.
func TestInteropScannedFromThePage(t *testing.T) {
	harness.InNamespace(t, []string{lab, "turn." + lab}, func(t *testing.T, _ *harness.DNS) {
		if _, err := exec.LookPath("chromium"); err != nil {
			t.Fatal("chromium is missing: it is in the Debian package chromium")
		}
		r := harness.New(t, harness.Options{Domain: lab, SelfSigned: true, Change: ordinaryPorts})
		alice := scan(t, screenshot(t, "https://"+lab+"/", 1200, 900))
		bob := scan(t, screenshot(t, "https://"+lab+"/new.html?lang=fa", 500, 900, "--force-dark-mode"))
		for _, uri := range []string{alice, bob} {
			if !strings.HasPrefix(uri, "dclogin:") || !strings.Contains(uri, "@"+lab+"?p=") || !strings.HasSuffix(uri, "&ic=3") {
				t.Fatalf("what was scanned is no login link of %s (%d characters)", lab, len(uri))
			}
		}
		printed := scan(t, fetch(t, r, "/qr-chatmail-invite-"+lab+".png"))
		if printed != "DCACCOUNT:https://"+lab+"/new" {
			t.Errorf("the printed code is %s", printed)
		}
		a := Start(t, Options{Name: "carol"}).AddAccount("Carol")
		a.Configure(printed)
		Exchange(t, under(t, r, alice, bob))
	})
}

// screenshot opens a page in a browser as wide and high as that.
func screenshot(t *testing.T, url string, width, height int, options ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "page.png")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "chromium", harness.Browser(dir, url, append(options,
		"--hide-scrollbars", "--virtual-time-budget=5000", fmt.Sprintf("--window-size=%d,%d", width, height), "--screenshot="+file)...)...)
	cmd.Env = append(os.Environ(), "HOME="+dir)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	picture, readErr := os.ReadFile(file)
	if readErr != nil {
		t.Fatalf("%s: %v, %v\n%s", url, err, readErr, out)
	}
	return picture
}

// fetch gets a file of the relay as a client does that takes any certificate.
func fetch(t *testing.T, r *harness.Relay, path string) []byte {
	t.Helper()
	client := http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", r.Addr("https"))
		},
	}}
	defer client.CloseIdleConnections()
	answer, err := client.Get("https://" + r.Domain + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", path, answer.Status, err)
	}
	return body
}

// scan reads the QR code in a picture, as a phone would.
func scan(t *testing.T, picture []byte) string {
	t.Helper()
	img, _, err := image.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatalf("read the picture: %v", err)
	}
	bits, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		t.Fatalf("read the picture: %v", err)
	}
	result, err := qrcode.NewQRCodeReader().Decode(bits, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_TRY_HARDER: true})
	if err != nil {
		t.Fatalf("there is no QR code in the picture: %v", err)
	}
	return result.GetText()
}
