package web

import (
	"bytes"
	"image/png"
	"net/url"
	"strings"
	"testing"
)

func TestLoginURIEscapesWhatItMust(t *testing.T) {
	for _, c := range []struct {
		address, password string
		opts              LoginOptions
		want              string
	}{
		{"alice@relay.test", "p@ss w+rd", LoginOptions{AcceptInvalid: true}, "dclogin:alice@relay.test?p=p%40ss%20w%2Brd&v=1&ic=3"},
		{"alice@[192.0.2.7]", "p@ss w+rd", LoginOptions{Host: "192.0.2.7", AcceptInvalid: true}, "dclogin:alice@[192.0.2.7]?p=p%40ss%20w%2Brd&v=1&ih=192.0.2.7&sh=192.0.2.7&ic=3"},
		{"alice@[IPv6:2001:db8::7]", "x", LoginOptions{}, "dclogin:alice@[IPv6%3A2001%3Adb8%3A%3A7]?p=x&v=1"},
		{"alice@relay.test", "x", LoginOptions{Host: "127.0.0.1", IMAPPort: 10993, IMAPSecurity: SSL, SMTPPort: 10465, SMTPSecurity: SSL, AcceptInvalid: true},
			"dclogin:alice@relay.test?p=x&v=1&ih=127.0.0.1&ip=10993&is=ssl&sh=127.0.0.1&sp=10465&ss=ssl&ic=3"},
		{"a?b&c#d@relay.test", "", LoginOptions{}, "dclogin:a%3Fb%26c%23d@relay.test?p=&v=1"},
	} {
		if got := LoginURI(c.address, c.password, c.opts); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestLoginURIReadsBack(t *testing.T) {
	password := passwordLetters + " \x00\xffä"
	_, query, _ := strings.Cut(LoginURI("alice@relay.test", password, LoginOptions{}), "?")
	values, err := url.ParseQuery(query)
	if err != nil || values.Get("p") != password || values.Get("v") != "1" {
		t.Fatalf("%v %v", err, values)
	}
}

func TestAccountURI(t *testing.T) {
	for domain, want := range map[string]string{
		"relay.test":         "DCACCOUNT:https://relay.test/new",
		"[192.0.2.7]":        "DCACCOUNT:https://192.0.2.7/new",
		"[IPv6:2001:db8::7]": "DCACCOUNT:https://[2001:db8::7]/new",
		"[ipv6:2001:db8::7]": "DCACCOUNT:https://[2001:db8::7]/new",
	} {
		if got := AccountURI(domain); got != want {
			t.Errorf("%s: %s", domain, got)
		}
	}
}

func TestTheInvitationIsAnImage(t *testing.T) {
	w := get(made(Config{Domain: "relay.test"}), "GET", "/qr-chatmail-invite-relay.test.png")
	if w.Code != 200 || w.Header().Get("Content-Type") != "image/png" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	img, err := png.Decode(bytes.NewReader(w.Body.Bytes()))
	if err != nil || img.Bounds().Dx() != 384 || img.Bounds().Dy() != 384 {
		t.Fatalf("%v %v", err, img.Bounds())
	}
	if w := get(made(Config{Domain: "relay.test"}), "GET", "/qr-chatmail-invite-other.test.png"); w.Code != 404 {
		t.Errorf("another domain's: %d", w.Code)
	}
}

// The drawing has the modules of the code, and no others.
func TestTheDrawingIsTheCode(t *testing.T) {
	const uri = "DCACCOUNT:https://relay.test/new"
	svg := string(qrSVG(uri, "QR code"))
	rows := code(uri, 1).Bitmap()
	drawn := make([][]bool, len(rows))
	for y := range drawn {
		drawn[y] = make([]bool, len(rows))
	}
	_, path, _ := strings.Cut(svg, `d="M`)
	path, _, _ = strings.Cut(path, `z"/>`)
	for run := range strings.SplitSeq(path, "zM") {
		var x, y, n, back int
		if _, err := sscan(run, &x, &y, &n, &back); err != nil || n != back || n < 1 {
			t.Fatalf("run %q: %v", run, err)
		}
		for i := range n {
			drawn[y][x+i] = true
		}
	}
	for y := range rows {
		for x := range rows[y] {
			if rows[y][x] != drawn[y][x] {
				t.Fatalf("module %d,%d", x, y)
			}
		}
	}
}
