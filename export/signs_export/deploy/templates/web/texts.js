// What the page says, in the languages that it speaks.

export const TEXTS = {
  en: {
    lead: "Everything runs in this browser. No picture leaves it.",
    loading: "Loading the model …",
    proving: "Checking the model on its golden pictures …",
    proved: (proof) =>
      `Proved in this browser: Keras's label on ${proof.sameLabel} of ${proof.pictures} golden pictures, ` +
      `and ${proof.files} picture files are read as in training.`,
    failed: (proof) =>
      `Do not rely on this browser: ${proof.sameLabel} of ${proof.pictures} golden pictures have Keras's label, ` +
      `probabilities are up to ${proof.largest.toPrecision(2)} off (at most ${proof.tolerance.toPrecision(2)}), ` +
      `pixels up to ${proof.pixels} of 255.`,
    broken: (reason) => `The model cannot be loaded: ${reason}`,
    drop: "Drop a picture here, paste one, or choose a file",
    choose: "Choose a picture",
    camera: "Use the camera",
    stop: "Stop the camera",
    noCamera: (reason) => `The camera cannot be used: ${reason}`,
    needsHttps: "browsers allow it on https and localhost only.",
    noPicture: "This is no picture that the browser can read.",
    unsure: "unsure",
    none: "none of the labels",
    answer: (label, probability) => `${label}, ${probability}`,
    rate: (rate) => `${rate} pictures a second`,
    took: (ms) => `${ms} ms`,
    picture: "The picture",
    answers: "Probabilities",
  },
  de: {
    lead: "Alles läuft in diesem Browser. Kein Bild verlässt ihn.",
    loading: "Das Modell wird geladen …",
    proving: "Das Modell wird an seinen Prüfbildern geprüft …",
    proved: (proof) =>
      `In diesem Browser geprüft: ${proof.sameLabel} von ${proof.pictures} Prüfbildern haben Keras' Klasse, ` +
      `und ${proof.files} Bilddateien werden gelesen wie im Training.`,
    failed: (proof) =>
      `Auf diesen Browser ist kein Verlass: ${proof.sameLabel} von ${proof.pictures} Prüfbildern haben Keras' Klasse, ` +
      `Wahrscheinlichkeiten weichen um bis zu ${proof.largest.toPrecision(2)} ab (höchstens ` +
      `${proof.tolerance.toPrecision(2)}), Pixel um bis zu ${proof.pixels} von 255.`,
    broken: (reason) => `Das Modell kann nicht geladen werden: ${reason}`,
    drop: "Ein Bild hierher ziehen, einfügen oder als Datei wählen",
    choose: "Bild wählen",
    camera: "Kamera verwenden",
    stop: "Kamera anhalten",
    noCamera: (reason) => `Die Kamera kann nicht verwendet werden: ${reason}`,
    needsHttps: "Browser erlauben sie nur mit https und auf localhost.",
    noPicture: "Das ist kein Bild, das der Browser lesen kann.",
    unsure: "unsicher",
    none: "keine der Klassen",
    answer: (label, probability) => `${label}, ${probability}`,
    rate: (rate) => `${rate} Bilder pro Sekunde`,
    took: (ms) => `${ms} ms`,
    picture: "Das Bild",
    answers: "Wahrscheinlichkeiten",
  },
};

/** The language that the user asked for (?lang=de), or the browser's first that the page speaks. */
export function chosenLanguage() {
  const asked = new URLSearchParams(location.search).get("lang");
  const wanted = [asked, ...navigator.languages].filter(Boolean).map((each) => each.slice(0, 2));
  return wanted.find((each) => each in TEXTS) ?? "en";
}
