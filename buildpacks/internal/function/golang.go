package function

// Manifest is what func.yaml says of a function in one language.
type Manifest struct {
	Signature string            // "http", "cloudevent", or "" where it is not said
	Env       map[string]string // plain values
}

// ReadManifest reads func.yaml; nil where there is none, and where it is of another language, or, unless project.toml has said that the
// app is a function, not a manifest at all.
func ReadManifest(app, language string, said bool) (*Manifest, error) {
	y, err := readFuncYAML(app, said)
	if err != nil || y == nil || !y.isFor(language) {
		return nil, err
	}
	return &Manifest{y.signature(), y.env()}, nil
}

// Template is the function of a SAM template.
type Template struct {
	File, Name, Handler, Source string
	Env                         map[string]string // variables with plain values
}

// ReadTemplate reads the SAM template of the app; nil where there is none with one function of the language, or, unless project.toml has said
// that the app is a function, not a template at all.
func ReadTemplate(app, language string, said bool) (*Template, error) {
	t, err := readTemplate(app, said)
	if err != nil || t == nil || !t.isFor(language) {
		return nil, err
	}
	return &Template{t.file, t.name, t.handler, t.source, t.env}, nil
}
