// The page's texts, in each of its languages.

export const TEXTS = {
  en: {
    lead: "Everything runs in this browser. No picture leaves it.",
    loading: "Loading the model …",
    proving: "Checking the model on its golden pictures …",
    proved: (proof) =>
      `Proved in this browser: ${proof.sameLabel} of ${proof.pictures} golden pictures have Keras's label, ` +
      `and ${proof.files} picture files are read as in training.`,
    failed: (proof) =>
      `Do not rely on this browser: ${proof.sameLabel} of ${proof.pictures} golden pictures have Keras's label, ` +
      `probabilities differ by up to ${proof.largest.toPrecision(2)} (allowed: ${proof.tolerance.toPrecision(2)}), ` +
      `and pixels by up to ${proof.pixels} of 255.`,
    broken: (reason) => `The model cannot be loaded: ${reason}`,
    drop: "Drop a picture here, paste one, or choose a file",
    choose: "Choose a picture",
    camera: "Use the camera",
    stop: "Stop the camera",
    noCamera: (reason) => `The camera cannot be used: ${reason}`,
    needsHttps: "browsers allow it only on https and localhost.",
    noPicture: "The browser cannot read this file as a picture.",
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
      `Wahrscheinlichkeiten weichen um bis zu ${proof.largest.toPrecision(2)} ab (erlaubt: ` +
      `${proof.tolerance.toPrecision(2)}), Pixel um bis zu ${proof.pixels} von 255.`,
    broken: (reason) => `Das Modell kann nicht geladen werden: ${reason}`,
    drop: "Ein Bild hierher ziehen, einfügen oder als Datei wählen",
    choose: "Bild wählen",
    camera: "Kamera verwenden",
    stop: "Kamera anhalten",
    noCamera: (reason) => `Die Kamera kann nicht verwendet werden: ${reason}`,
    needsHttps: "Browser erlauben sie nur mit https und auf localhost.",
    noPicture: "Der Browser kann diese Datei nicht als Bild lesen.",
    unsure: "unsicher",
    none: "keine der Klassen",
    answer: (label, probability) => `${label}, ${probability}`,
    rate: (rate) => `${rate} Bilder pro Sekunde`,
    took: (ms) => `${ms} ms`,
    picture: "Das Bild",
    answers: "Wahrscheinlichkeiten",
  },
};

/** The language in the address (?lang=de), else the first of the browser's that the page has, else English. */
export function chosenLanguage() {
  const asked = new URLSearchParams(location.search).get("lang");
  const wanted = [asked, ...navigator.languages].filter(Boolean).map((each) => each.slice(0, 2));
  return wanted.find((each) => each in TEXTS) ?? "en";
}
