package web

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"
	"sync"
	"time"

	"barid/internal/finding"
)

// The bounds of the operator's directory.
const (
	lookEvery     = time.Second
	maxFiles      = 2000
	maxDepth      = 8
	maxPage       = 1 << 20 // octets of a page that is a template
	maxFile       = 16 << 20
	maxFilesBytes = 64 << 20 // of all together; they are kept in memory
	fileAge       = 60       // seconds that a cache may keep one
)

// overlay reads the operator's directory again when it changed. Its pages keep
// their last good form: a template that is broken, or a file that cannot be
// read, changes nothing but what Findings tells.
type overlay struct {
	dir string

	mu        sync.Mutex // guards the fields below; held while looking
	looked    time.Time
	signature string // of what was read last
	troubles  []string
}

// source is one file as it lies there.
type source struct {
	path string // "/index.html"
	text []byte
}

// start reads the directory for the first time. It must be there.
func (o *overlay) start(s *Site) error {
	if info, err := os.Stat(o.dir); err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("%s is no directory", o.dir)
	}
	o.refresh(s)
	return nil
}

// refresh looks whether anything changed, if the last look is a while ago.
// While one request looks, others get what was there before.
func (o *overlay) refresh(s *Site) {
	if !o.mu.TryLock() {
		return
	}
	defer o.mu.Unlock()
	now := s.cfg.Now()
	if age := now.Sub(o.looked); !o.looked.IsZero() && age >= 0 && age < lookEvery {
		return
	}
	o.looked = now
	root, err := os.OpenRoot(o.dir) // no link leads out of it
	if err != nil {
		o.tell(s, []string{plainPath(err)})
		return
	}
	defer root.Close()
	files, signature, err := list(root.FS())
	if err != nil {
		o.tell(s, []string{plainPath(err)})
		return
	}
	if signature == o.signature {
		return
	}
	sources, troubles := readAll(root.FS(), files)
	e := s.newEdition()
	troubles = append(troubles, e.take(sources, s.edition.Load())...)
	o.signature = signature
	o.tell(s, troubles)
	s.edition.Store(e)
}

// tell remembers what is wrong, and logs it once.
func (o *overlay) tell(s *Site, troubles []string) {
	if strings.Join(troubles, "\n") != strings.Join(o.troubles, "\n") {
		for _, t := range troubles {
			s.cfg.Logger.Warn("a page of web.dir cannot be used", "part", "web", "trouble", t)
		}
	}
	o.troubles = troubles
}

// Findings tells what of the operator's directory cannot be used.
func (s *Site) Findings() (found []finding.Finding) {
	if s.overlay == nil {
		return nil
	}
	s.overlay.mu.Lock()
	defer s.overlay.mu.Unlock()
	for _, t := range s.overlay.troubles {
		found = append(found, finding.Finding{ID: "web.page", Severity: finding.Warning,
			Text: "In web.dir: " + t + ".", Remedy: "Repair the file; until then its last good form, or the relay's own page, is shown."})
	}
	return found
}

func plainPath(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Sprintf("%s: %v", p.Path, p.Err)
	}
	return err.Error()
}

// list gives the files below a directory in order, and a text that changes
// when one of them does. Names that begin with a dot are left out, all but
// ".well-known".
func list(dir fs.FS) (files []string, signature string, err error) {
	var b strings.Builder
	err = fs.WalkDir(dir, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		switch {
		case name != "." && strings.HasPrefix(base, ".") && base != ".well-known":
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			if strings.Count(name, "/") >= maxDepth {
				return fmt.Errorf("%s: more than %d directories deep", name, maxDepth)
			}
			return nil
		}
		info, err := fs.Stat(dir, name) // of what a link leads to
		if err != nil || !info.Mode().IsRegular() {
			return nil // a link to nowhere or out of here, a socket
		}
		if len(files) == maxFiles {
			return fmt.Errorf("more than %d files", maxFiles)
		}
		files = append(files, name)
		fmt.Fprintf(&b, "%s\x00%d\x00%d\n", name, info.Size(), info.ModTime().UnixNano())
		return nil
	})
	sort.Strings(files)
	return files, b.String(), err
}

// readAll reads files, as far as the bounds let it.
func readAll(dir fs.FS, files []string) (all []source, troubles []string) {
	left := int64(maxFilesBytes)
	for _, name := range files {
		text, err := readOne(dir, name, min(left, maxFile))
		if err != nil {
			troubles = append(troubles, plainPath(err))
			continue
		}
		left -= int64(len(text))
		all = append(all, source{"/" + name, text})
	}
	return all, troubles
}

func readOne(dir fs.FS, name string, most int64) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s: too large, alone or with the others", name)
	}
	return text, err
}

// take fills an edition with the operator's files. Where a page is broken, it
// takes the one of the edition before.
func (e *edition) take(sources []source, before *edition) (troubles []string) {
	if isWorkshop(sources) {
		return e.build(sources, before)
	}
	for _, f := range sources {
		troubles = append(troubles, e.takeFile(f, before)...)
	}
	return troubles
}

// takeFile takes one file as it is, or as a template when it is a page.
func (e *edition) takeFile(f source, before *edition) (troubles []string) {
	if f.path == "/main.css" {
		e.style = string(f.text)
	}
	if !strings.HasSuffix(f.path, ".html") {
		e.files[f.path] = fileDocument(f)
		return nil
	}
	t, err := e.parse(f.path, f.text)
	if err == nil {
		e.pages[f.path] = t
		return nil
	}
	if last := before.pages[f.path]; last != nil {
		e.pages[f.path] = last
	}
	return []string{err.Error()}
}

// parse reads a template and tries it, in the first language.
func (e *edition) parse(name string, text []byte) (*template.Template, error) {
	if len(text) > maxPage {
		return nil, fmt.Errorf("%s: more than %d octets", name, maxPage)
	}
	if conflicted(text) {
		return nil, fmt.Errorf("%s: has the marks of a merge conflict", name)
	}
	t, err := template.New(name).Funcs(e.site.words("")).Option("missingkey=zero").Parse(string(text))
	if err != nil {
		return nil, err
	}
	for _, who := range []Registration{Open, ByInvitation, Closed} {
		v := e.view(homePage, e.site.languages[0].tag, false, "")
		v.Page, v.Card = strings.TrimSuffix(path.Base(name), ".html"), e.site.offerOf(v.lang, who)
		if err := t.Execute(io.Discard, v); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// conflicted finds lines that a version control system leaves behind.
func conflicted(text []byte) bool {
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(line, []byte("<<<<<<< ")) || bytes.HasPrefix(line, []byte(">>>>>>> ")) {
			return true
		}
	}
	return false
}

// mediaTypes are those of files that sites have.
var mediaTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".txt": "text/plain; charset=utf-8",
	".json": "application/json", ".xml": "application/xml", ".pdf": "application/pdf", ".asc": "text/plain; charset=utf-8",
	".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
	".webp": "image/webp", ".avif": "image/avif", ".ico": "image/x-icon", ".woff2": "font/woff2", ".woff": "font/woff", ".ttf": "font/ttf",
	".mp4": "video/mp4", ".webm": "video/webm", ".apk": "application/vnd.android.package-archive",
}

func fileDocument(f source) *document {
	kind := mediaTypes[strings.ToLower(path.Ext(f.path))]
	if kind == "" {
		kind = "application/octet-stream"
		if path.Ext(f.path) == "" {
			kind = "text/plain; charset=utf-8" // security.txt without its ending, and its like
		}
	}
	d := &document{kind: kind, body: f.text, age: fileAge}
	if kind == mediaTypes[".svg"] {
		d.policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
	}
	d.squeeze()
	return d
}
